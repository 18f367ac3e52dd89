"""From a parsed TOML document to a config, gathering every problem on the way. Pure: the environment is handed in."""

import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Annotated, Any, Final, get_args, get_origin

import msgspec

from service.config.model import LISTS, TABLES, Config, Section
from service.config.problems import Problem, place_in
from service.strict_json import choices_of

_VARIABLE: Final = re.compile(r"\$(?:\{([A-Za-z_][A-Za-z0-9_]*)\}|([A-Za-z_][A-Za-z0-9_]*))")
_INNER_VARIABLE: Final = re.compile(r"\$\{[A-Za-z_][A-Za-z0-9_]*\}")
_PLACE_WITHIN: Final = re.compile(r" - at `\$(.*)`$")


class Decoding:
    """One document being read. What of it cannot be read is a problem, and is left at its default, or empty."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self._unread: list[str] = []
        self.problems: list[Problem] = []

    def config(self, document: Mapping[str, Any]) -> Config:
        """What can be read. With problems it is good for nothing but finding more of them."""
        found: dict[str, Any] = {}
        for key, value in document.items():
            if key in TABLES:
                found[key] = self._table(key, key, value, TABLES[key])
            elif key in LISTS:
                found[key] = self._list(key, value, LISTS[key])
            else:
                self._unknown(key, (*TABLES, *LISTS))
        return Config(**found)

    def follows(self, problem: Problem) -> bool:
        """Whether this problem, found in the config, only follows from one that is known."""
        place = problem.place
        return any(place == unread or place.startswith((f"{unread}.", f"{unread}[")) for unread in self._unread)

    def _problem(self, place: str, text: str) -> None:
        self.problems.append(Problem(place, text))
        self._unread.append(place)

    def _list(self, key: str, value: Any, section: type[Section]) -> tuple[Section, ...]:
        if not isinstance(value, list):
            self._problem(key, f"must be a list of tables, written [[{key}]]")
            return (section(**_stand_ins(section)),)
        return tuple(self._table(key, f"{key}[{index}]", item, section) for index, item in enumerate(value))

    def _table(self, key: str, place: str, table: Any, section: type[Section]) -> Section:
        """key: under which name its model knows it."""
        stand_ins = _stand_ins(section)
        if not isinstance(table, dict):
            self._problem(place, "must be a table")
            return section(**stand_ins)
        known = {field.name: field.type for field in msgspec.structs.fields(section)}
        found: dict[str, Any] = {}
        for name, value in table.items():
            if name not in known:
                self._unknown(name, known, place)
            elif (read := self._value((key, name), place_in(place, name), value, known[name])) is not None:
                found[name] = read
        for name in stand_ins:
            missing = Problem(place_in(place, name), "is missing")
            if name not in table and not self.follows(missing):
                self._problem(missing.place, missing.text)
        return section(**{**stand_ins, **found})

    def _value(self, key: tuple[str, str], place: str, value: Any, kind: Any) -> Any:
        """The value as its field has it; None for one that cannot be, which is a problem then."""
        if isinstance(value, int | float) and not isinstance(value, bool) and "usd" in key[1]:
            self._problem(place, f'an amount is exact, so it goes in quotes: "{value}"')
            return None
        said = _said(place, value)
        read = {where: self._from_environment(where, item) for where, item in said.items()}
        if None in read.values():
            return None
        is_ours = all(read[where] is item for where, item in said.items())
        whole: Any = list(read.values())
        if isinstance(value, dict):
            whole = dict(zip(value, whole, strict=True))
        try:
            return msgspec.convert(whole if isinstance(value, list | dict) else whole[0], kind, strict=is_ours)
        except msgspec.ValidationError as error:
            text, _, within = _PLACE_WITHIN.sub(r"\n\1", str(error)).partition("\n")
            self._problem(place + within, _readable(text, kind, said=_shown(value, is_ours=is_ours)))
            return None

    def _from_environment(self, place: str, value: Any) -> Any:
        """The value, or that of the variable it names. None: it is not set, which is a problem."""
        if not isinstance(value, str):
            return value
        match = _VARIABLE.fullmatch(value)
        if match is None:
            if _INNER_VARIABLE.search(value):
                self._problem(place, "only a whole value can be read from the environment, not a part of one")
            return value
        name = match.group(1) or match.group(2)
        found = self._environ.get(name, "").strip()
        if not found:
            self._problem(place, f"the environment variable {name} is not set")
            return None
        return found

    def _unknown(self, name: str, known: Iterable[str], table: str = "") -> None:
        place = place_in(table, name)
        nearest = next(iter(get_close_matches(name[:64], known, n=1, cutoff=0.6)), None)
        hint = f"did you mean {nearest}?" if nearest else f"known keys are {', '.join(known)}"
        self._problem(place, f"unknown key; {hint}")
        if nearest:
            self._unread.append(place_in(table, nearest))


def _said(place: str, value: Any) -> dict[str, Any]:
    """{its place: each value in a list or table}, or the one there is."""
    if isinstance(value, list):
        return {f"{place}[{index}]": item for index, item in enumerate(value)}
    if isinstance(value, dict):
        return {place_in(place, name): item for name, item in value.items()}
    return {place: value}


def _stand_ins(section: type[Section]) -> dict[str, Any]:
    """{required field: something empty}, so that the rules can look at the rest of a section that lacks them."""
    fields = msgspec.structs.fields(section)
    return {field.name: () if get_origin(field.type) is tuple else "" for field in fields if field.required}


def _readable(text: str, kind: Any, *, said: str) -> str:
    """msgspec's words without its marks; for a choice, the choices. said: the value, unless it may be a secret."""
    if choices := choices_of(kind):
        number = "a number or " if any(map(_is_number, get_args(kind))) else ""
        return f"{said} cannot be; choose {number}{', '.join(choices)}"
    return text.replace("`", "").replace(" | null", "").replace("object", "table").replace("Expected", "expected")


def _shown(value: Any, *, is_ours: bool) -> str:
    """What was said in the file. What a variable holds may be a secret, and is not shown."""
    if not is_ours:
        return f"what {value} holds"
    return repr(value)[:80] if isinstance(value, str | int | float) else "this"


def _is_number(kind: Any) -> bool:
    return kind in {int, float} or (get_origin(kind) is Annotated and _is_number(get_args(kind)[0]))
