"""TOML as it is written here: tables of plain values, and comments that nothing can break out of."""

import json
from collections.abc import Iterable
from typing import Any

import msgspec


class Table(msgspec.Struct, kw_only=True):
    """`[header]` or `[[header]]` with its values. notes: said above it."""

    header: str
    values: dict[str, Any]
    notes: list[str] = []


def written(table: Table) -> str:
    """The table as text."""
    lines = [*(f"# {note}" for note in table.notes), table.header]
    lines += [f"{name} = {literal(value)}" for name, value in table.values.items() if value is not None]
    return "\n".join(lines)


def literal(value: Any) -> str:
    """A value as TOML has it; anything that TOML has not, as text."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(int(value) if value == int(value) else value)
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(literal, value))}]"
    if isinstance(value, dict):
        return f"{{ {', '.join(f'{literal(name)} = {literal(held)}' for name, held in value.items())} }}"
    # JSON's escapes are TOML's too; DEL is the only character that it leaves and TOML does not.
    return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")


def comments(lines: Iterable[str]) -> str:
    """Lines that are not read."""
    return "\n".join(f"# {line}".rstrip() for line in lines)
