"""Statements in PostgreSQL's words.

Every statement has its text in `sql/sqlite`; where PostgreSQL needs another one, `sql/postgres` has it under the same
name. Most need none: then both engines run the same text.
"""

import re
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Any, Final

import msgspec

import ledger.sql
from ledger.sql import statements

# What may stand before a parameter and is none: a quoted text, a cast.
_PARAMETER: Final = re.compile(r"'(?:[^']|'')*'|::\w+|:(?P<name>[a-z_]\w*)|(?P<next>\?)")


class Translated(msgspec.Struct, frozen=True):
    """A statement as the server takes it. names: of its parameters $1, $2, …; a number: that place of a sequence.

    finds: it answers with rows. reads: it changes none.
    """

    text: str
    names: tuple[str | int, ...]
    finds: bool
    reads: bool

    def values(self, parameters: Any) -> list[Any]:
        """The parameters in the server's order."""
        return [storable(parameters[name]) for name in self.names]


@cache
def own_words() -> Mapping[str, str]:
    """{a statement's text on SQLite: its text here}, of those that need another one."""
    found: dict[str, str] = {}
    sqlite = {file.name for file in files(ledger.sql).joinpath("sqlite").iterdir()}
    for file in files(ledger.sql).joinpath("postgres").iterdir():
        need, _, kind = file.name.partition(".")
        if kind != "sql" or file.name not in sqlite:
            continue
        known = statements("sqlite", need)
        # One that SQLite has no statement for is asked for by its name in `sql/postgres`.
        for name, text in ((name, text) for name, text in statements("postgres", need).items() if name in known):
            assert found.setdefault(known[name], text) == text, f"{need}: {name} has two texts here"
    return MappingProxyType(found)


@cache
def translated(statement: str) -> Translated:
    """A statement of `sql/sqlite`, or one in words that both engines know, as the server takes it."""
    names: list[str | int] = []

    def place(found: re.Match[str]) -> str:
        if found["name"] is None and found["next"] is None:
            return found[0]
        name: str | int = found["name"] or len(names)
        if isinstance(name, int) or name not in names:
            names.append(name)
        return f"${names.index(name) + 1}"

    text = _PARAMETER.sub(place, own_words().get(statement, statement))
    verb = text.split(None, 1)[0].upper()
    reads = verb in {"SELECT", "WITH"}
    return Translated(text, tuple(names), finds=reads or "RETURNING" in text, reads=reads)


def storable(value: Any) -> Any:
    """A NUL, which no text of PostgreSQL's can hold, as the sign for what cannot be shown."""
    return value.replace("\0", "\ufffd") if isinstance(value, str) and "\0" in value else value
