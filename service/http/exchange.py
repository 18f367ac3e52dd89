"""One HTTP request and what becomes of it: the ids it goes by, what was sent, and what telemetry is told in the end."""

import logging
import time
import traceback
from collections.abc import Callable
from typing import Any, Final

import msgspec

from ledger.errors import CeilingExceeded, CeilingHeld, RateLimited, Tight
from router.call import Call, Trace
from router.reply import Origin, Reply
from service.anthropic.errors import error_body as anthropic_error_body
from service.auth.callers import ANONYMOUS
from service.auth.secret import without_secrets
from service.errors import CALLER_GONE_STATUS, INTERNAL_ERROR, PROBLEM_MEDIA_TYPE, Problem, problem_body, problem_of
from service.headers import HeaderPairs, answering_headers, timing_so_far
from service.http.dashboard import refusal_page
from service.live.told import UNWATCHED, Watched
from service.openai_chat import error_body
from service.parts import Parts
from service.refusals import Forbidden, Unauthenticated
from service.requests import Headers, Message, Send, combined
from telemetry import names
from telemetry.context import new_span_id, new_trace_id, parse_traceparent
from telemetry.facts import ChatFacts, RequestFacts, Scalar

log = logging.getLogger(__name__)

VENDOR_PREFIX: Final = "/v1/"
_OPENAIS: Final = ("/v1/chat/", "/v1/responses", "/v1/embeddings")
_ANTHROPICS: Final = "/v1/messages"
CALLER_GONE: Final = "caller_gone"
OK: Final = 200
_SCOPE_KEY: Final = "farthing.exchange"
_JSON: Final = b"application/json"
_NOISE: Final = ("/health", "/dashboard/")
# A kept error comes again for as long as it is kept.
_SHOULD_NOT_RETRY: Final = (b"x-should-retry", b"false")


class Exchange:
    """What is known of one request on its way. Made once for each, by the outermost application."""

    def __init__(self, scope: Any, send: Send, parts: Parts) -> None:
        self.headers = combined(scope["headers"])
        self.trace, self.parent_span_id = _trace(self.headers, parts)
        self.path: str = scope["path"]
        self.caller = ANONYMOUS
        self.generation_id = ""
        self.origin: Origin | None = None
        self.reply: Reply | None = None
        self.chat: ChatFacts | None = None
        self.live: Watched = UNWATCHED
        self.error_code = ""
        self.refusal: dict[str, Scalar] = {}
        self.status = 0
        self._method: str = scope["method"]
        self._scope = scope
        self._send = send
        self._parts = parts
        self._began_ns = time.time_ns()
        self._began_s = time.perf_counter()
        scope[_SCOPE_KEY] = self

    @property
    def total_ms(self) -> float:
        """Time since the request came."""
        return (time.perf_counter() - self._began_s) * 1000

    @property
    def is_traced(self) -> bool:
        """Whether anybody wants to hear of it. Health checks and the files of a page are noise."""
        return self._parts.telemetry.exports and not self.path.startswith(_NOISE)

    async def send(self, message: Message) -> None:
        """What the server's own `send` does, noting the status. The answer to HEAD has no body."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
        elif self._method == "HEAD":
            message = {**message, "body": b""}
        await self._send(message)

    def id_headers(self) -> HeaderPairs:
        """Under which names this request can be found; on a vendor's path by the one, too, that its SDKs look for."""
        trace_id = (self.trace.trace_id if self.origin is None else self.origin.trace_id).encode()
        pairs = [(b"x-farthing-trace-id", trace_id)]
        generation_id = self.generation_id.encode()
        if generation_id:
            pairs.append((b"x-farthing-id", generation_id))
        if self.path.startswith(VENDOR_PREFIX):
            pairs.append((b"request-id" if self._is_anthropics else b"x-request-id", generation_id or trace_id))
        if self.origin is not None:
            pairs.append((b"idempotent-replayed", b"true"))
        return pairs

    def replays(self, call: Call, origin: Origin) -> Call:
        """From now on this answer goes by the names of the call whose result it is. Returns that call."""
        self.origin = origin
        self.generation_id = origin.generation_id
        return msgspec.structs.replace(call, generation_id=origin.generation_id, received_at_ms=origin.received_at_ms)

    async def answer(self, body: bytes, headers: HeaderPairs) -> None:
        """Send a whole JSON answer."""
        head = [(b"content-type", _JSON), (b"content-length", b"%d" % len(body)), *self.id_headers(), *headers]
        self.status = OK
        send = self.send if self._method == "HEAD" else self._send
        await send({"type": "http.response.start", "status": OK, "headers": head})
        await send({"type": "http.response.body", "body": body, "more_body": False})

    async def refuse(self, error: Exception, send: Send) -> None:
        """Send the problem that this error is."""
        problem, headers, body = self.problem(error)
        head = [*headers, (b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": problem.status, "headers": head})
        await send({"type": "http.response.body", "body": body, "more_body": False})

    def problem(self, error: Exception) -> tuple[Problem, HeaderPairs, bytes]:
        """The problem that this error is, in this path's shape; logged if it is a fault of ours."""
        problem = problem_of(error, self._parts.now_ms())
        self.error_code = problem.code
        if isinstance(error, CeilingExceeded | CeilingHeld | RateLimited):
            self.refusal = _facts_of(error.tight)
        if problem is INTERNAL_ERROR:
            # Where, and what kind: an exception's own text may hold a prompt or a key.
            log.error(
                "unexpected %s on %s %s\n%s",
                type(error).__name__,
                self._method,
                without_secrets(self.path),
                "".join(traceback.format_tb(error.__traceback__)),
                extra={"trace_id": self.trace.trace_id, "generation_id": self.generation_id},
            )
        if (page := self._page(error)) is not None:
            return problem, [*page[0], *self.id_headers(), *problem.headers], page[1]
        shape, media_type = self._shape()
        headers = [(b"content-type", media_type), *self.id_headers(), *problem.headers]
        if self.origin is not None and _SHOULD_NOT_RETRY not in headers:
            headers.append(_SHOULD_NOT_RETRY)
        if self.reply is not None:
            headers += answering_headers(
                self.reply.deployment_id, self.reply.cache, self.reply.dropped_params, self.reply.clamped
            )
        if self.generation_id:
            timing = None if self.reply is None else self.reply.timing
            headers.append(timing_so_far(timing, total_ms=self.total_ms))
        return problem, headers, msgspec.json.encode(shape(problem))

    def _page(self, error: Exception) -> tuple[HeaderPairs, bytes] | None:
        """The page that a browser is shown in the place of this problem; of a foreign host it is shown none."""
        asks_for_key = isinstance(error, Unauthenticated) or (isinstance(error, Forbidden) and self.caller.key_id)
        return refusal_page(self.path, self.headers) if asks_for_key else None

    def _shape(self) -> tuple[Callable[[Problem], dict[str, Any]], bytes]:
        """How this path tells a problem, and what that is called."""
        if not self.path.startswith(VENDOR_PREFIX):
            return problem_body, PROBLEM_MEDIA_TYPE
        return anthropic_error_body if self._is_anthropics else error_body, _JSON

    @property
    def _is_anthropics(self) -> bool:
        """Whose client it is, on a vendor's path: where both have such a path, or neither, a header says so."""
        if self.path.startswith(_OPENAIS):
            return False
        return self.path.startswith(_ANTHROPICS) or b"anthropic-version" in self.headers

    def caller_left(self) -> None:
        """Nobody was there to take the answer."""
        self.status = self.status or CALLER_GONE_STATUS
        self.error_code = CALLER_GONE

    def close(self) -> None:
        """It is told of, and over: nothing looks for it in its scope any more.

        The two would else hold each other until the collector of such circles comes by, with all that a call was.
        """
        del self._scope[_SCOPE_KEY]

    def count(self) -> None:
        """Count this request as a metric, once the response has been sent."""
        route = self._scope.get("path_template", "")
        self._parts.recorder.request(self._method, route, self.status, self.error_code, self.total_ms / 1000)

    def facts(self) -> RequestFacts:
        """What telemetry is told, once the response has been sent."""
        return RequestFacts(
            trace_id=self.trace.trace_id,
            span_id=self.trace.server_span_id,
            parent_span_id=self.parent_span_id,
            sampled=self.trace.sampled,
            tracestate=self.trace.tracestate,
            method=self._method,
            route=self._scope.get("path_template", ""),
            path=without_secrets(self.path),
            status=self.status,
            started_at_ns=self._began_ns,
            ended_at_ns=time.time_ns(),
            server_address=self._parts.host,
            server_port=self._parts.port,
            error_code=self.error_code,
            chat=self.chat,
            generation_id=self.generation_id,
            public_url=self._parts.public_url,
            refusal=self.refusal,
        )


def exchange_of(scope: Any) -> Exchange:
    """The exchange that this scope belongs to."""
    exchange = scope[_SCOPE_KEY]
    assert isinstance(exchange, Exchange)
    return exchange


def _facts_of(tight: Tight) -> dict[str, Scalar]:
    """What a trace says of the ceiling that had no room."""
    return {
        names.CEILING_SCOPE: tight.scope,
        names.CEILING_WINDOW: tight.window,
        names.CEILING_UNIT: tight.unit,
        names.CEILING_LIMIT: tight.limit,
        names.CEILING_SPENT: tight.spent,
        names.CEILING_HELD: tight.held,
        names.CEILING_ASKED: tight.asked,
    }


def _trace(headers: Headers, parts: Parts) -> tuple[Trace, str]:
    """The caller's trace carried on, or a new one, and the caller's span. A malformed parent is none (W3C §3.2)."""
    text = headers.get(b"traceparent")
    state = headers.get(b"tracestate", b"").decode("latin-1")
    parent = None if text is None else parse_traceparent(text.decode("latin-1"), state or None)
    trace_id = new_trace_id() if parent is None else parent.trace_id
    trace = Trace(
        trace_id=trace_id,
        server_span_id=new_span_id(),
        chat_span_id=new_span_id(),
        sampled=parts.telemetry.samples(parent, trace_id),
        tracestate="" if parent is None else parent.tracestate,
    )
    return trace, "" if parent is None else parent.span_id
