"""The whole of a config, in Farthing's words, and what is left of it as comments."""

import json
import re
from collections.abc import Iterable
from typing import Any, Final

import msgspec

from service.litellm.deployments import Fleet
from service.litellm.reasons import reason_for
from service.litellm.routes import Routes
from service.litellm.settings import Ceilings, tables_of
from service.litellm.source import Place, Source
from service.litellm.toml import Table, comments, written

_HEAD: Final = "Written by `farthing import litellm`. Try it: farthing check --config farthing.toml"
_LEFT: Final = "What has no equivalent here, by its place in the file that was read"
_UNKNOWN: Final = "no equivalent"
_MOST_CHARS: Final = 200
# What a comment must not show: by its name, or by how it looks.
_SECRET: Final = re.compile(
    r"(?<!_name)(key|secret|password|token|credentials|database_url|webhook|dsn|auth\w*|cookie|headers|url)$",
    re.IGNORECASE,
)
_LOOKS_SECRET: Final = re.compile(r"\bsk-|\bbearer\b|://[^/]*@|PRIVATE KEY", re.IGNORECASE)


class Translation(msgspec.Struct, frozen=True, kw_only=True):
    """text: the farthing.toml. left: how many settings are comments in it."""

    text: str
    providers: int
    routes: int
    left: int


def translate(source: Source) -> Translation:
    """What a config means here."""
    fleet = Fleet(source)
    routes = Routes(source, fleet)
    ceilings = Ceilings(source, fleet)
    tables: list[Table] = [*tables_of(source, fleet), *fleet.providers, *fleet.models, *routes.tables, *ceilings.tables]
    left = list(source.left())
    parts = [comments([_HEAD]), *map(written, tables)]
    if left:
        parts.append(comments(_told(left)))
    return Translation(
        text="\n\n".join(parts) + "\n", providers=len(fleet.providers), routes=len(routes.tables), left=len(left)
    )


def _told(left: Iterable[tuple[Place, Any, str]]) -> Iterable[str]:
    """A line for each setting, under its reason."""
    yield f"{_LEFT}:"
    told = ""
    for place, value, given in left:
        reason = given or reason_for(place) or _UNKNOWN
        if reason != told:
            yield f"- {reason}:"
            told = reason
        yield f"    {shown(place)} = {_value(place, value)}"


def shown(place: Place) -> str:
    """`model_list[0].litellm_params.model`."""
    text = "".join(f"[{step}]" if isinstance(step, int) else f".{_printable(step)}" for step in place)
    return text.removeprefix(".")


def _value(place: Place, value: Any) -> str:
    if _may_be_secret(place, value):
        return "(not shown)"
    return _printable(json.dumps(value, ensure_ascii=False, default=str))


def _may_be_secret(place: Place, value: Any) -> bool:
    is_variable = isinstance(value, str) and value.startswith("os.environ/")
    if is_variable or value is None or isinstance(value, bool | int | float):
        return False
    names = [step for step in place if isinstance(step, str)]
    in_secrets = names[0] == "environment_variables" or any(_SECRET.search(name) for name in names)
    return in_secrets or _LOOKS_SECRET.search(str(value)) is not None


def _printable(text: str) -> str:
    """Nothing in it ends the comment that it stands in."""
    whole = "".join(character if character.isprintable() else "?" for character in text)
    return whole if len(whole) <= _MOST_CHARS else f"{whole[:_MOST_CHARS]}…"
