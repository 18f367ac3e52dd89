"""A call as the router sees it, whatever wire format it came in."""

from typing import Any, Literal

import msgspec

from ledger.values import IdempotencyKey

# What is asked for: an answer to messages, or the vectors of texts.
Kind = Literal["chat", "embeddings"]
# How a stream is written, where callers and providers share a format: events then pass as they came. Empty: otherwise.
EventFormat = Literal["", "chat.completions", "responses", "messages"]
CacheMode = Literal["use", "bypass", "refresh", "only"]


class CacheWish(msgspec.Struct, frozen=True, kw_only=True):
    """What the caller asked of the response cache. ttl_s None means the configured one."""

    mode: CacheMode = "use"
    ttl_s: int | None = None


class Attribution(msgspec.Struct, frozen=True, kw_only=True):
    """Who caused the call. An empty string is "not said"."""

    key_id: str = ""
    team: str = ""
    user: str = ""
    workflow: str = ""
    run: str = ""
    tags: dict[str, str] = {}


class Trace(msgspec.Struct, frozen=True, kw_only=True):
    """The W3C trace a call belongs to: ids as lower-case hex, 32 and 16 digits."""

    trace_id: str
    server_span_id: str
    chat_span_id: str
    sampled: bool = True
    tracestate: str = ""


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """One generation asked for.

    body is what the caller sent in the shape of a chat completion (`messages`, `max_tokens`, `tools`, …), or as OpenAI
    has embeddings (`input`, `dimensions`, …), less `model`, `stream` and `stream_options`: those are ours to choose.
    Fields nobody here knows stay in it untouched. Embeddings are never streamed. body_bytes: how large it was when it
    came; work on large ones is done aside (`router.large`). allowed_routes: the names that its
    key may ask for; empty: all. event_format: how the caller's own stream is written.
    """

    generation_id: str
    model: str | None
    body: dict[str, Any]
    stream: bool
    received_at_ms: int
    deadline_s: float
    attribution: Attribution
    cache: CacheWish
    trace: Trace
    forwarded_headers: dict[str, str] = {}
    max_cost_nanousd: int | None = None
    idempotency: IdempotencyKey | None = None
    kind: Kind = "chat"
    body_bytes: int = 0
    allowed_routes: tuple[str, ...] = ()
    event_format: EventFormat = ""
