"""From a parsed TOML document to a Config, gathering every problem on the way. Pure but for the environment given."""

import re
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any, Final, get_args, get_type_hints

import msgspec

from service.config.model import LISTS, NOT_YET, NOT_YET_VALUES, TABLES, Config, Section
from service.config.problems import ConfigInvalid, Problem

_VARIABLE: Final = re.compile(r"^\$(?:\{([A-Za-z_][A-Za-z0-9_]*)\}|([A-Za-z_][A-Za-z0-9_]*))$")
_MONEY: Final = re.compile(r"usd")


class Decoding:
    """One document being read: its problems, and the environment that its `$NAME` values come from."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self.problems: list[Problem] = []

    def config(self, document: Mapping[str, Any]) -> Config:
        """The config in this document. Raises ConfigInvalid with every problem in it."""
        found: dict[str, Any] = {}
        for key, value in document.items():
            if key in TABLES:
                found[key] = self._table(key, key, value, TABLES[key])
            elif key in LISTS:
                found[key] = self._list(key, value, LISTS[key])
            else:
                self._unknown("", key, key, (*TABLES, *LISTS))
        if self.problems:
            raise ConfigInvalid(*self.problems)
        return Config(**found)

    def problem(self, place: str, text: str) -> None:
        """Note a problem."""
        self.problems.append(Problem(place, text))

    def _list(self, key: str, value: Any, section: type[Section]) -> tuple[Any, ...]:
        if not isinstance(value, list):
            self.problem(key, f"must be a list of tables, written [[{key}]]")
            return ()
        return tuple(self._table(key, f"{key}[{index}]", item, section) for index, item in enumerate(value))

    def _table(self, key: str, place: str, value: Any, section: type[Section]) -> Any:
        if not isinstance(value, dict):
            self.problem(place, "must be a table")
            return None
        before = len(self.problems)
        fields = {name: self._value(key, f"{place}.{name}", name, item, section) for name, item in value.items()}
        for field in msgspec.structs.fields(section):
            if field.required and field.encode_name not in value:
                self.problem(place, f"{field.encode_name} is missing")
        return section(**fields) if len(self.problems) == before else None

    def _value(self, key: str, place: str, name: str, value: Any, section: type[Section]) -> Any:
        if name not in section.__struct_fields__:
            self._unknown(key, place, name, section.__struct_fields__)
            return None
        if isinstance(value, float) and _MONEY.search(name):
            self.problem(place, f'amounts are exact: quote it, as in "{value}"')
            return None
        is_later = isinstance(value, str) and value in NOT_YET_VALUES.get((key, name), ())
        if is_later:
            self.problem(place, f"{value!r} is not supported by this version")
            return None
        read, is_from_environment = self._from_environment(place, value)
        if read is None:
            return None
        kind = get_type_hints(section, include_extras=True)[name]
        try:
            return msgspec.convert(read, kind, strict=not is_from_environment)
        except msgspec.ValidationError as error:
            self.problem(place, _readable(str(error), kind))
            return None

    def _from_environment(self, place: str, value: Any) -> tuple[Any, bool]:
        match = _VARIABLE.match(value) if isinstance(value, str) else None
        if match is None:
            return value, False
        name = match.group(1) or match.group(2)
        found = self._environ.get(name)
        if not found:
            self.problem(place, f"the environment variable {name} is not set")
            return None, True
        return found, True

    def _unknown(self, key: str, place: str, name: str, known: tuple[str, ...]) -> None:
        if name in NOT_YET.get(key, ()):
            self.problem(place, "not supported by this version")
            return
        nearest = get_close_matches(name, known, n=1, cutoff=0.5)
        hint = f"did you mean {nearest[0]}?" if nearest else f"known keys are {', '.join(known)}"
        self.problem(place, f"unknown key; {hint}")


def _readable(error: str, kind: Any) -> str:
    """msgspec's words without its marks; for a choice, the choices."""
    text = error.partition(" - at ")[0].replace("`", "")
    choices = get_args(kind)
    if "Invalid enum value" in text and choices:
        return f"{text.replace('Invalid enum value', 'cannot be')}; choose {', '.join(map(str, choices))}"
    return text
