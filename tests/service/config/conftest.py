"""Config files in a folder of the test's own, read without this machine's environment."""

from collections.abc import Callable
from pathlib import Path

import pytest

from service.config import Config, ConfigInvalid, load_config

Reads = Callable[..., Config]
Refuses = Callable[..., list[str]]

PROVIDER = """
[[providers]]
name = "openai"
dialect = "openai"
base_url = "https://api.openai.com/v1"
"""


@pytest.fixture
def reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Reads:
    """`reads(text, **environment)`: the config in a file of this text."""
    monkeypatch.chdir(tmp_path)

    def read(text: str, /, **environ: str) -> Config:
        path = tmp_path / "given.toml"
        path.write_text(text, "utf-8")
        return load_config(str(path), environ)

    return read


@pytest.fixture
def refuses(reads: Reads) -> Refuses:
    """`refuses(text, **environment)`: the lines that are said about a file of this text; none if it is fine."""

    def refuse(text: str, /, **environ: str) -> list[str]:
        try:
            reads(text, **environ)
        except ConfigInvalid as invalid:
            return [str(problem) for problem in invalid.problems]
        return []

    return refuse
