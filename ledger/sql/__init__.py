"""Named statements, one file a need, one folder an engine."""

import re
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Final

_NAME: Final = "-- name: "
_BESIDE: Final = re.compile(r"^-- beside: (\d+)$", re.MULTILINE)

# (version, script) of each migration.
Migrations = tuple[tuple[int, str], ...]


@cache
def statements(engine: str, need: str) -> Mapping[str, str]:
    """{name: statement} of `sql/{engine}/{need}.sql`. Comments under a name are its promise and stay in the file."""
    found: dict[str, str] = {}
    text = files(__name__).joinpath(engine, f"{need}.sql").read_text("utf-8")
    for block in text.split(_NAME)[1:]:
        name, _, body = block.partition("\n")
        lines = (line for line in body.splitlines() if not line.startswith("--"))
        assert name not in found, name
        found[name.strip()] = "\n".join(lines).strip().rstrip(";")
    return MappingProxyType(found)


@cache
def schema(engine: str) -> str:
    """The script that makes what all migrations of this engine come to. `tests/ledger/test_schema.py` holds it to that."""
    return files(__name__).joinpath(engine, "schema.sql").read_text("utf-8")


@cache
def migrations(engine: str) -> Migrations:
    """(version, script) of every migration of this engine, in order, numbered from 1 without a gap."""
    folder = files(__name__).joinpath(engine, "migrations")
    scripts = sorted((entry.name, entry.read_text("utf-8")) for entry in folder.iterdir() if entry.name.endswith(".sql"))
    numbered = tuple((int(name.partition("_")[0]), script) for name, script in scripts)
    assert [number for number, _ in numbered] == list(range(1, len(numbered) + 1))
    return numbered


def oldest_beside(number: int, script: str) -> int:
    """The oldest epoch of code that is right beside this migration: what its line `-- beside: N` says.

    Without one nobody who is older is. Such code neither reads what the migration takes away nor writes what it forbids,
    and what it leaves out is filled by a default or a trigger. Source: `ledger.postgres.migrate`.
    """
    said = _BESIDE.search(script)
    oldest = number if said is None else int(said[1])
    assert 1 <= oldest <= number, f"migration {number} cannot admit epoch {oldest}"
    return oldest
