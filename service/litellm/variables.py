"""Values that the environment holds: how LiteLLM names their variables, and how a config here does."""

import re
from typing import Any, Final

_THEIRS: Final = re.compile(r"os\.environ/([A-Za-z_][A-Za-z0-9_]*)")
_OURS: Final = re.compile(r"\$(?:[A-Za-z_]\w*|\{[A-Za-z_]\w*\})")


def is_variable(text: str) -> bool:
    """Whether it is the name of a variable here, and nothing else."""
    return _OURS.fullmatch(text) is not None


def variable_of(value: str) -> str | None:
    """`os.environ/NAME` as it is written here. None: it is no variable."""
    if is_variable(value):
        return value
    found = _THEIRS.fullmatch(value.strip())
    return None if found is None else f"${found[1]}"


def text_of(value: Any) -> str | None:
    """A value as text: a key may have been written as a number. None: it is none, or empty."""
    return None if value is None or value == "" or isinstance(value, dict | list | bool) else str(value)
