"""The headers of generation calls: what a caller may wish for in them, and what the answer says in them."""

from collections.abc import Iterable, Mapping
from typing import Final, get_args
from urllib.parse import quote

import msgspec

from ledger.money import MAX_NANOUSD, format_usd, parse_usd
from router.call import CacheMode
from router.receipt import Receipt, Timing
from service.refusals import InvalidRequest
from service.requests import Headers

MAX_NAME_CHARS: Final = 256
MAX_TAGS: Final = 32
MAX_SPAN: Final = 1 << 40
CACHE_MODES: Final[tuple[CacheMode, ...]] = get_args(CacheMode)
FORWARDED: Final = {
    b"openai-beta": "OpenAI-Beta",
    b"anthropic-beta": "anthropic-beta",
    b"anthropic-version": "anthropic-version",
}

HeaderPairs = list[tuple[bytes, bytes]]


class Wishes(msgspec.Struct, frozen=True, kw_only=True):
    """What the caller asked for beside the call itself. None and empty: not said."""

    user: str = ""
    workflow: str = ""
    run: str = ""
    tags: dict[str, str] = {}
    cache_mode: CacheMode | None = None
    cache_ttl_s: int | None = None
    deadline_ms: int | None = None
    max_cost_nanousd: int | None = None

    def over(self, others: "Wishes") -> "Wishes":
        """These wishes, and the others' where these say nothing. Tags of both, these winning."""
        said = {name: getattr(self, name) or getattr(others, name) for name in ("user", "workflow", "run")}
        unsaid = ("cache_mode", "cache_ttl_s", "deadline_ms", "max_cost_nanousd")
        numbers = {n: getattr(others, n) if getattr(self, n) is None else getattr(self, n) for n in unsaid}
        return Wishes(**said, **numbers, tags=others.tags | self.tags)


NO_WISHES: Final = Wishes()


def read_wishes(headers: Headers) -> Wishes:
    """The `x-farthing-…` headers. Raises InvalidRequest naming the header that is wrong."""
    found = {name.decode(): _text(name, value) for name, value in headers.items() if name.startswith(b"x-farthing-")}
    if not found:
        return NO_WISHES
    max_cost = found.get("x-farthing-max-cost-usd")
    return Wishes(
        user=bounded_name("x-farthing-user", found.get("x-farthing-user", "")),
        workflow=bounded_name("x-farthing-workflow", found.get("x-farthing-workflow", "")),
        run=bounded_name("x-farthing-run", found.get("x-farthing-run", "")),
        tags=_tags(found.get("x-farthing-tags", "")),
        cache_mode=_cache_mode(found.get("x-farthing-cache")),
        cache_ttl_s=_whole("x-farthing-cache-ttl-s", found, least=0),
        deadline_ms=_whole("x-farthing-deadline-ms", found, least=1),
        max_cost_nanousd=None if max_cost is None else amount("x-farthing-max-cost-usd", max_cost),
    )


def forwarded(headers: Headers) -> dict[str, str]:
    """The headers that go to a provider of the same dialect as they are."""
    return {FORWARDED[name]: _text(name, headers[name]) for name in FORWARDED if name in headers}


def bounded_name(where: str, text: str) -> str:
    """The text, if it can serve as a name in the ledger."""
    if len(text) > MAX_NAME_CHARS:
        raise InvalidRequest(f"is longer than {MAX_NAME_CHARS} characters", where=where)
    return text


def bounded_tags(where: str, tags: dict[str, str]) -> dict[str, str]:
    """The tags, if they are few and short."""
    if len(tags) > MAX_TAGS:
        raise InvalidRequest(f"has more than {MAX_TAGS} tags", where=where)
    for name, value in tags.items():
        bounded_name(where, name)
        bounded_name(where, value)
    return tags


def amount(where: str, text: str) -> int:
    """Nano-dollars in a decimal string of dollars."""
    try:
        return parse_usd(text)
    except ValueError as error:
        most = MAX_NANOUSD // 10**9
        raise InvalidRequest(f'must be dollars as a decimal, like "0.05", from 0 to {most}', where=where) from error


def receipt_headers(receipt: Receipt, *, total_ms: float) -> HeaderPairs:
    """What a whole answer says of itself beside its ids."""
    return [
        *answering_headers(
            f"{receipt.provider}:{receipt.model}", receipt.cache, receipt.dropped_params, receipt.clamped
        ),
        cost_header(receipt),
        timing_header(receipt.timing, total_ms=total_ms),
    ]


def cost_header(receipt: Receipt) -> tuple[bytes, bytes]:
    """What the answer cost."""
    return b"x-farthing-cost-usd", format_usd(receipt.cost_nanousd).encode()


def timing_header(timing: Timing, *, total_ms: float) -> tuple[bytes, bytes]:
    """Where the time went."""
    return (
        b"server-timing",
        b"queue;dur=%.3f, ledger;dur=%.3f, upstream;dur=%.3f, total;dur=%.3f"
        % (timing.queue_ms, timing.ledger_ms, timing.upstream_ms, total_ms),
    )


def answering_headers(
    deployment_id: str, cache: str, dropped: Iterable[str], clamped: Mapping[str, int]
) -> HeaderPairs:
    """Who answers, and how."""
    pairs = [(b"x-farthing-cache", cache.encode())]
    if deployment_id:
        pairs.append((b"x-farthing-model", _safe(deployment_id)))
    if names := ",".join(dropped):
        pairs.append((b"x-farthing-dropped", _safe(names)))
    if clamped:
        pairs.append((b"x-farthing-clamped", ",".join(f"{name}={value}" for name, value in clamped.items()).encode()))
    return pairs


def timing_so_far(timing: Timing | None, *, total_ms: float) -> tuple[bytes, bytes]:
    """The time so far, with its parts where they are known."""
    if timing is None:
        return (b"server-timing", b"total;dur=%.3f" % total_ms)
    return timing_header(timing, total_ms=total_ms)


def _safe(text: str) -> bytes:
    """Text as a header value: what is not printable ASCII is percent-encoded, so that nothing can break out of it."""
    plain = text.isascii() and text.isprintable()
    return (text if plain else quote(text, safe=" !#$&'()*+,/:;=?@[]")).encode()


def _text(name: bytes, value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError as error:
        raise InvalidRequest("is not UTF-8", where=name.decode("latin-1")) from error


def _cache_mode(text: str | None) -> CacheMode | None:
    if text is None:
        return None
    for mode in CACHE_MODES:
        if mode == text:
            return mode
    raise InvalidRequest(f"must be one of {', '.join(CACHE_MODES)}", where="x-farthing-cache")


def _whole(name: str, found: dict[str, str], *, least: int) -> int | None:
    text = found.get(name)
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 16 and least <= int(text) <= MAX_SPAN):
        raise InvalidRequest(f"must be a whole number from {least} to {MAX_SPAN}", where=name)
    return int(text)


def _tags(text: str) -> dict[str, str]:
    tags: dict[str, str] = {}
    for pair in filter(None, (part.strip() for part in text.split(","))):
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise InvalidRequest("must be k=v pairs, separated by commas", where="x-farthing-tags")
        if tags.setdefault(name, value) != value:
            raise InvalidRequest(f"names {name!r} twice, with two values", where="x-farthing-tags")
    return bounded_tags("x-farthing-tags", tags)
