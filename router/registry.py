"""What is known of models by their names: `models.toml`, read once."""

import functools
import tomllib
from importlib.resources import files
from typing import Final

import msgspec

from router.capabilities import CAPABILITIES
from router.lessons import Adaptation

_ENDS: Final = "-.:@"


class ModelFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What a model takes. supports None: nobody knows, so everything. Sizes in tokens; None: not known."""

    supports: frozenset[str] | None = None
    context_window: int | None = None
    max_output_tokens: int | None = None
    adaptation: Adaptation = Adaptation()


class _Entry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    names: tuple[str, ...]
    lacks: frozenset[str] = frozenset()
    context_window: int | None = None
    max_output_tokens: int | None = None
    endpoint: str = ""
    renamed: dict[str, str] = {}


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    models: tuple[_Entry, ...]


@functools.lru_cache(maxsize=1024)
def facts_of(model: str) -> ModelFacts:
    """What is known of the model of this name. A vendor's prefix (`openai/gpt-4o`) does not matter."""
    name = model.rpartition("/")[2].lower()
    while name:
        if (known := _by_name().get(name)) is not None:
            return known
        name = name[: max(name.rfind(end) for end in _ENDS)] if any(end in name for end in _ENDS) else ""
    return ModelFacts()


@functools.cache
def _by_name() -> dict[str, ModelFacts]:
    text = files("router").joinpath("models.toml").read_text("utf-8")
    read = msgspec.convert(tomllib.loads(text), _File)
    return {name: _facts(entry) for entry in read.models for name in entry.names}


def _facts(entry: _Entry) -> ModelFacts:
    unknown = entry.lacks - CAPABILITIES
    assert not unknown, f"models.toml names capabilities that do not exist: {unknown}"
    return ModelFacts(
        supports=CAPABILITIES - entry.lacks,
        context_window=entry.context_window,
        max_output_tokens=entry.max_output_tokens,
        adaptation=Adaptation(endpoint=entry.endpoint, renamed=entry.renamed),
    )
