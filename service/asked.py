"""A generation as its body asks for it, and how it becomes a Call. What every wire format shares."""

from typing import Annotated, Any, Protocol

import msgspec

from ledger.values import IdempotencyKey
from router.answer import Delta
from router.call import Attribution, CacheWish, Call, EventFormat, Kind, Trace
from router.reply import Finished, Reply
from service.auth.callers import Caller
from service.errors import Problem
from service.headers import NO_WISHES, Wishes, forwarded, read_wishes
from service.requests import Headers

Count = Annotated[int, msgspec.Meta(ge=0, le=1 << 31)]


class Message(msgspec.Struct):
    """The least that a message must be. Whatever else it holds goes through as it is."""

    role: str
    content: str | list[dict[str, Any]] | None = None


class Params(msgspec.Struct):
    """Parameters that are read here, in the router or the ledger; all others go through unread."""

    max_tokens: Count | None = None
    max_completion_tokens: Count | None = None
    n: Annotated[int, msgspec.Meta(ge=1, le=128)] | None = None
    tools: list[dict[str, Any]] | None = None


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """One parsed body. body, kind, event_format: as in router.call.Call.

    include_usage: a stream ends with a usage chunk.
    """

    model: str | None
    body: dict[str, Any]
    stream: bool
    wishes: Wishes = NO_WISHES
    include_usage: bool = False
    kind: Kind = "chat"
    event_format: EventFormat = ""


class EventWriter(Protocol):
    """One reply's events as bytes of an SSE stream. Empty bytes: this wire format has no event for it."""

    def delta(self, delta: Delta) -> bytes:
        """What the model said next."""

    def closing(self, finished: Finished) -> bytes:
        """The end of a whole answer; nothing may follow."""

    def failure(self, problem: Problem) -> bytes:
        """The end of a broken one; nothing may follow."""


class Wire(Protocol):
    """One wire format."""

    def read(self, raw: bytes) -> Asked:
        """Parse a body. Raises InvalidRequest."""

    def answer(self, call: Call, finished: Finished) -> bytes:
        """The whole answer."""

    def events(self, call: Call, reply: Reply, asked: Asked) -> EventWriter:
        """A writer for the reply's stream."""


def build_call(
    asked: Asked,
    headers: Headers,
    *,
    generation_id: str,
    trace: Trace,
    received_at_ms: int,
    deadline_ms: int,
    body_bytes: int,
    caller: Caller,
    idempotency: IdempotencyKey | None = None,
) -> Call:
    """The call that this body and these headers ask for. A field of the body wins over its header.

    deadline_ms: the configured one, which no caller can exceed. Raises InvalidRequest for a wrong header.
    """
    wishes = read_wishes(headers)
    if asked.wishes is not NO_WISHES:
        wishes = asked.wishes if wishes is NO_WISHES else asked.wishes.over(wishes)
    asked_ms = deadline_ms if wishes.deadline_ms is None else min(wishes.deadline_ms, deadline_ms)
    return Call(
        generation_id=generation_id,
        model=asked.model,
        body=asked.body,
        stream=asked.stream,
        received_at_ms=received_at_ms,
        deadline_s=asked_ms / 1000,
        attribution=_attribution(caller, wishes),
        cache=CacheWish(mode=wishes.cache_mode or "use", ttl_s=wishes.cache_ttl_s),
        trace=trace,
        forwarded_headers=forwarded(headers),
        max_cost_nanousd=wishes.max_cost_nanousd,
        idempotency=idempotency,
        kind=asked.kind,
        body_bytes=body_bytes,
        allowed_routes=caller.routes,
        event_format=asked.event_format,
    )


def _attribution(caller: Caller, wishes: Wishes) -> Attribution:
    """Whose call it is, by its key and its own words."""
    return Attribution(
        key_id=caller.key_id,
        team=caller.team,
        user=wishes.user,
        workflow=wishes.workflow,
        run=wishes.run,
        tags=wishes.tags,
    )
