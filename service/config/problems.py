"""What is wrong with a config: every problem at once, each with its place."""

import re
from pathlib import Path
from typing import Final

import msgspec

MAX_TEXT_CHARS: Final = 400
_BARE_KEY: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")


class Problem(msgspec.Struct, frozen=True):
    """One thing to mend. place: like `providers[1].timeout_s`, the name of a variable, or that of the file.

    As text it is one line of bounded length, whatever was in the file. Addresses and keys are never shown in it.
    """

    place: str
    text: str

    def __str__(self) -> str:
        text = _printable(self.text)
        shown = text if len(text) <= MAX_TEXT_CHARS else f"{text[:MAX_TEXT_CHARS]}…"
        return f"{_printable(self.place)}: {shown}"


class ConfigInvalid(Exception):
    """The config cannot be used. Nothing was started. file: it was read from there; None: from the environment."""

    def __init__(self, *problems: Problem, file: Path | None = None) -> None:
        assert problems
        super().__init__("; ".join(map(str, problems)))
        self.problems = problems
        self._file = file

    @property
    def lines(self) -> list[str]:
        """A line for each problem, which says in which file it is."""
        within = "" if self._file is None else f"{_printable(str(self._file))}: "
        return [f"{within}{problem}" for problem in self.problems]


def place_in(table: str, key: str) -> str:
    """The place of a key in a table; an empty table is the whole file. What is no bare TOML key is quoted and cut."""
    name = key if _BARE_KEY.fullmatch(key) else repr(key[:64])
    return f"{table}.{name}" if table else name


def section_of(problem: Problem) -> str:
    """In which section of the file it is: `providers` of `providers[1].timeout_s`."""
    return re.split(r"[.[]", problem.place, maxsplit=1)[0]


def _printable(text: str) -> str:
    return "".join(character if character.isprintable() else repr(character)[1:-1] for character in text)
