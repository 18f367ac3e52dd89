"""What a call may use that has a price of its own: an hour in a cache, audio, images. Pure, linear.

What is not known for certain to be text may be anything. Source: DESIGN §7, the dearest class that can apply.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from ledger.prices.price import ANY_KIND, Kinds, Price
from router.parts import IMAGE_PARTS
from router.providers.anthropic.native import own_of

_TEXT_PARTS: Final = frozenset({
    "text", "input_text", "output_text", "refusal", "thinking", "redacted_thinking", "tool_use", "tool_result",
})  # fmt: skip
_UNHEARD_PARTS: Final = _TEXT_PARTS.union(IMAGE_PARTS)
_AUDIO_PARTS: Final = frozenset({"input_audio", "audio", "audio_url"})
# Until when a provider keeps what it is told to cache, where nothing is said.
_SHORT_LIVES: Final = (None, "5m")


def bound_nanousd(price: Price, body: Mapping[str, Any], prompt_tokens: int, completion_tokens: int) -> int:
    """What a hold takes for this body, if it reads and writes at most this much."""
    return price.bound_nanousd(prompt_tokens, completion_tokens, kinds_of(body) if price.by_kind else ANY_KIND)


def kinds_of(body: Mapping[str, Any]) -> Kinds:
    """The kinds that can come up. Models that draw do so unasked, unless the body says that they are not to."""
    asked = body.get("modalities")
    modalities = asked if isinstance(asked, list) else ()
    parts = [part for message in _list(body.get("messages")) for part in _parts(message)]
    kinds = set(map(_type_of, parts))
    return Kinds(
        caches_1h=any(map(_is_kept_long, (*_heads(body), *parts))),
        hears=not kinds <= _UNHEARD_PARTS,
        sees=not kinds <= _TEXT_PARTS | _AUDIO_PARTS,
        speaks=body.get("audio") is not None or "audio" in modalities,
        draws=not isinstance(asked, list) or any(kind not in {"text", "audio"} for kind in modalities),
    )


def _type_of(part: Any) -> str:
    """Empty where it says none."""
    kind = part.get("type") if isinstance(part, dict) else None
    return kind if isinstance(kind, str) else ""


def _parts(message: Any) -> Iterator[Any]:
    """Each part of a message, or of a tool's result in one."""
    for part in _list(message.get("content") if isinstance(message, dict) else None):
        yield part
        yield from _parts(part)


def _heads(body: Mapping[str, Any]) -> Iterator[Any]:
    """Where else providers take a cache control from: the body, its tools and its messages."""
    yield body
    yield own_of(body)
    yield from _list(body.get("messages"))
    for tool in _list(body.get("tools")):
        yield tool
        yield tool.get("function") if isinstance(tool, dict) else None


def _is_kept_long(place: Any) -> bool:
    """Whether what stands here is to be cached for more than the usual life."""
    control = place.get("cache_control") if isinstance(place, Mapping) else None
    return isinstance(control, dict) and control.get("ttl") not in _SHORT_LIVES


def _list(value: Any) -> Iterable[Any]:
    return value if isinstance(value, list) else ()
