"""The file as it was read, within bounds, and which of its settings have been used."""

from collections.abc import Hashable, Iterator
from pathlib import Path
from typing import Any, Final

import yaml

MAX_BYTES: Final = 1 << 20
MAX_FILES: Final = 50
MAX_SETTINGS: Final = 50_000
MAX_DEPTH: Final = 64
INCLUDE: Final = "include"

Place = tuple[str | int, ...]
_SCALARS: Final = (str, int, float, bool, type(None))


class Unreadable(Exception):
    """The file cannot be read, or is no config. The text says why."""


class Source:
    """A config and its settings: the values that are no tables, and the lists of such. Each is used or left over.

    A place is a path: ("model_list", 0, "model_name").
    """

    def __init__(self, document: dict[str, Any]) -> None:
        self.document = document
        self._left: dict[Place, Any] = dict(_settings(document, ()))
        self._reasons: dict[Place, str] = {}

    def get(self, *place: str | int) -> Any:
        """What is there, unused still. None: nothing."""
        found: Any = self.document
        for step in place:
            if isinstance(found, dict):
                found = found.get(step)
            elif isinstance(found, list) and isinstance(step, int) and step < len(found):
                found = found[step]
            else:
                return None
        return found

    def table(self, *place: str | int) -> dict[str, Any]:
        """The table that is there; an empty one for anything else."""
        found = self.get(*place)
        return found if isinstance(found, dict) else {}

    def items(self, *place: str | int) -> list[Any]:
        """The list that is there; an empty one for anything else."""
        found = self.get(*place)
        return found if isinstance(found, list) else []

    def use(self, *place: str | int) -> Any:
        """What is there, which has its equivalent now, and all within it."""
        for used in [it for it in self._left if it[: len(place)] == place]:
            del self._left[used]
        return self.get(*place)

    def explain(self, reason: str, *place: str | int) -> None:
        """Say why what is there, and all within it, has no equivalent. The longest place that was explained counts."""
        self._reasons.setdefault(place, reason)

    def left(self) -> Iterator[tuple[Place, Any, str]]:
        """(place, value, reason) of all that was not used, in the file's order. reason empty: none is known."""
        for place, value in self._left.items():
            lengths = range(len(place), 0, -1)
            reason = next((self._reasons[place[:n]] for n in lengths if place[:n] in self._reasons), "")
            yield place, value, reason


def read_source(path: Path) -> Source:
    """The config in this file, with the files that it includes. Raises Unreadable."""
    document = _read(path)
    included = document.pop(INCLUDE, None)
    if included is None:
        return Source(document)
    names = included if isinstance(included, list) else [included]
    if len(names) > MAX_FILES:
        raise Unreadable(f"includes more than {MAX_FILES} files")
    for name in names:
        if not isinstance(name, str):
            raise Unreadable(f"{INCLUDE} must list files")
        _merge(document, _read(path.parent / name))
    return Source(document)


def _merge(document: dict[str, Any], included: dict[str, Any]) -> None:
    """Lists grow, as LiteLLM has it; of anything else the included file's word counts."""
    for name, value in included.items():
        if isinstance(value, list) and isinstance(document.get(name), list):
            document[name] = [*document[name], *value]
        else:
            document[name] = value


def _read(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        raise Unreadable(f"{path}: {getattr(error, 'strerror', None) or 'cannot be read'}") from error
    if len(raw) > MAX_BYTES:
        raise Unreadable(f"{path}: is longer than {MAX_BYTES} bytes")
    try:
        # Its loader is SafeLoader with one more check.
        document = yaml.load(raw, Loader=_Loader)  # noqa: S506
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        where = "" if mark is None else f", line {mark.line + 1}"
        said = getattr(error, "problem", None) or "too deep, or no text"
        raise Unreadable(f"{path}{where}: is no YAML: {said}") from error
    if not isinstance(document, dict):
        raise Unreadable(f"{path}: is no config: it must be a table with model_list in it")
    plain = _Plain()
    return {str(name): plain.of(value) for name, value in document.items()}


class _Loader(yaml.SafeLoader):
    """Refuses a key that is given twice, of which YAML would silently take the last, and merges without end."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.tag == "tag:yaml.org,2002:merge":
                continue
            if key.value in seen:
                raise yaml.MarkedYAMLError(problem=f"{key.value!r} is there twice", problem_mark=key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        super().flatten_mapping(node)
        if len(node.value) > MAX_SETTINGS:
            raise yaml.MarkedYAMLError(problem=f"more than {MAX_SETTINGS} keys", problem_mark=node.start_mark)


class _Plain:
    """Makes plain values of what YAML read: text for every key, and for what is no number or truth (dates above all).

    Aliases let few bytes stand for any number of values, so they are counted.
    """

    def __init__(self) -> None:
        self._values = 0

    def of(self, value: Any, depth: int = 0) -> Any:
        """Raises Unreadable for what is too much or too deep."""
        self._values += 1
        if self._values > MAX_SETTINGS:
            raise Unreadable(f"has more than {MAX_SETTINGS} settings")
        if depth > MAX_DEPTH:
            raise Unreadable(f"is nested more than {MAX_DEPTH} deep")
        if isinstance(value, dict):
            return {str(key): self.of(inner, depth + 1) for key, inner in value.items()}
        if isinstance(value, list):
            return [self.of(inner, depth + 1) for inner in value]
        return value if isinstance(value, _SCALARS) else str(value)


def _settings(value: Any, place: Place) -> Iterator[tuple[Place, Any]]:
    if isinstance(value, dict) and value:
        for name, inner in value.items():
            yield from _settings(inner, (*place, name))
    elif isinstance(value, list) and any(isinstance(inner, dict | list) for inner in value):
        for index, inner in enumerate(value):
            yield from _settings(inner, (*place, index))
    elif place:
        yield place, value
