"""The generation paths, whatever their wire format: admit, answer whole or as a stream, never outlive the caller."""

import asyncio
from contextlib import aclosing
from typing import Any, Final

from ledger.apikeys import ApiKeyOver
from ledger.errors import LedgerError
from ledger.values import IdempotencyKey
from router.call import Call
from router.errors import Overloaded, RouterError, SlowReader
from router.large import aside
from router.reply import Finished, Reply
from router.until import Deadlines
from service.asked import Asked, EventWriter, Wire, build_call
from service.disconnect import Watch
from service.headers import HeaderPairs, answering_headers, receipt_headers, timing_so_far
from service.http.again import ShortWay
from service.http.exchange import CALLER_GONE, Exchange, exchange_of
from service.http.repeats import Repeats, key_of
from service.idempotency import read_key
from service.ids import new_generation_id
from service.live.told import watched
from service.parts import Parts
from service.refusals import Refusal
from service.requests import CallerGone, Receive, Send, read_json_body
from service.sse import EventLine

# For a caller who reads slowly, or not at all, to take the error that its stream ends with.
LAST_WORD_S: Final = 2.0
# No write of several events is larger, but for its last one.
WRITE_BYTES: Final = 65_536


class Slots:
    """How many calls this process has in progress, and whether it takes another. deadlines: for what they wait for."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._is_empty = asyncio.Event()
        self._is_empty.set()
        self.in_use = 0
        self.deadlines = Deadlines()

    def __enter__(self) -> None:
        """Take one, for the length of the block. Raises Overloaded at once if there is none, or the process drains."""
        if self.in_use >= self._parts.limits.max_in_flight or self._parts.is_draining():
            raise Overloaded
        self.in_use += 1
        self._parts.recorder.calls_in_flight(self.in_use)
        self._is_empty.clear()

    def __exit__(self, *_: object) -> None:
        self.in_use -= 1
        self._parts.recorder.calls_in_flight(self.in_use)
        if self.in_use == 0:
            self._is_empty.set()

    async def emptied(self, *, within_s: float) -> bool:
        """Wait until no call is in progress, but no longer than this. Returns whether it came to that."""
        try:
            async with asyncio.timeout(within_s):
                await self._is_empty.wait()
        except TimeoutError:
            return False
        return True


class GenerationApp:
    """Answers one generation path. An ASGI application, so that nothing stands between it and the server."""

    def __init__(self, wire: Wire, slots: Slots, parts: Parts, repeats: Repeats) -> None:
        self._wire = wire
        self._slots = slots
        self._parts = parts
        self._short_way = ShortWay(wire, parts, repeats)

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        exchange = exchange_of(scope)
        try:
            with self._slots:
                await self._generate(exchange, receive, send)
        except CallerGone:
            exchange.caller_left()
        except ApiKeyOver as error:
            self._parts.keyring.forget(error.key_id)
            await exchange.refuse(error, send)
        except (Refusal, RouterError, LedgerError) as error:
            await exchange.refuse(error, send)

    async def _generate(self, exchange: Exchange, receive: Receive, send: Send) -> None:
        limits = self._parts.limits
        raw = await read_json_body(
            exchange.headers,
            receive,
            max_bytes=limits.max_body_bytes,
            timeout_s=limits.body_timeout_s,
            deadline=self._slots.deadlines.within,
        )
        key = key_of(exchange, raw)
        if key is not None and await self._short_way.answered(exchange, key, send):
            return
        asked, idempotency = await aside(lambda: self._read(exchange, raw), size=len(raw))
        call = self._call(exchange, asked, idempotency, body_bytes=len(raw))
        exchange.generation_id = call.generation_id
        exchange.live = watched(self._parts.live, call, exchange.caller, route_of=self._route_of)
        with Watch(receive) as watch:
            reply = await self._answer(exchange, asked, call, watch, send)
        if key is not None and reply.again is not None:
            self._short_way.remember(key, call, await reply.finished(), reply, asked)

    async def _answer(self, exchange: Exchange, asked: Asked, call: Call, watch: Watch, send: Send) -> Reply:
        """Admit the call and tell its caller what becomes of it. Returns its reply, which is over."""
        reply = exchange.reply = await self._admitted(exchange, call, watch)
        if reply.origin is not None:
            call = exchange.replays(call, reply.origin)
        try:
            if call.stream:
                await self._stream(exchange, reply, self._wire.events(call, reply, asked), watch, send)
            else:
                await self._whole(exchange, call, reply, watch)
        except (RouterError, LedgerError, CallerGone) as error:
            exchange.live.failed(CALLER_GONE if isinstance(error, CallerGone) else error.code)
            raise
        finally:
            await reply.aclose()
            if exchange.is_traced and reply.origin is None:
                exchange.chat = reply.chat_facts()
        return reply

    def _call(self, exchange: Exchange, asked: Asked, idempotency: IdempotencyKey | None, *, body_bytes: int) -> Call:
        now_ms = self._parts.now_ms()
        return build_call(
            asked,
            exchange.headers,
            generation_id=new_generation_id(now_ms),
            trace=exchange.trace,
            received_at_ms=now_ms,
            deadline_ms=self._parts.limits.deadline_ms,
            body_bytes=body_bytes,
            idempotency=idempotency,
            caller=exchange.caller,
        )

    async def _admitted(self, exchange: Exchange, call: Call, watch: Watch) -> Reply:
        try:
            # Whoever leaves the line takes nobody's room; what was taken for him by then is given back.
            reply = await watch.over(self._parts.gateway.generate(call))
        except (RouterError, LedgerError, CallerGone) as error:
            exchange.live.refused(CALLER_GONE if isinstance(error, CallerGone) else error.code)
            raise
        exchange.live.admitted(reply)
        return reply

    def _route_of(self, model: str | None) -> str:
        return self._parts.catalog.resolve(model).name

    def _read(self, exchange: Exchange, raw: bytes) -> tuple[Asked, IdempotencyKey | None]:
        asked = self._wire.read(raw)
        return asked, read_key(exchange.headers, path=exchange.path, raw=raw, caller=exchange.caller.key_id)

    async def _whole(self, exchange: Exchange, call: Call, reply: Reply, watch: Watch) -> None:
        if reply.cache == "hit" or reply.origin is not None:
            # It is at hand: watching for the caller's leaving would cost more than the answer.
            finished = await reply.finished()
        else:
            finished = await watch.over(reply.finished())
        body = self._wire.answer(call, finished)
        await exchange.answer(body, receipt_headers(finished.receipt, total_ms=exchange.total_ms))
        exchange.live.answered(reply, finished.receipt)

    async def _stream(self, exchange: Exchange, reply: Reply, writer: EventWriter, watch: Watch, send: Send) -> None:
        def headers() -> HeaderPairs:
            answering = answering_headers(reply.deployment_id, reply.cache, reply.dropped_params, reply.clamped)
            return [*exchange.id_headers(), *answering, timing_so_far(reply.timing, total_ms=exchange.total_ms)]

        limits = self._parts.limits
        line = EventLine(send, headers, keep_alive_s=limits.keep_alive_s, reader_timeout_s=limits.reader_timeout_s)
        try:
            await watch.over(_pump(exchange, reply, writer, line))
        finally:
            await line.aclose()


async def _pump(exchange: Exchange, reply: Reply, writer: EventWriter, line: EventLine) -> None:
    """The reply's events, and exactly one last word. Raises only what came before the first write."""
    try:
        await _copy(exchange, reply, writer, line)
    except Exception as error:
        if not line.is_open:
            raise
        # Its share of the flight must not wait for the last word.
        await reply.aclose()
        # Headers are out: what went wrong, bugs too, can only be said as an event. `problem` logs the latter.
        problem, _, _ = exchange.problem(error)
        exchange.live.failed(problem.code)
        try:
            async with asyncio.timeout(LAST_WORD_S):
                await line.write(writer.failure(problem))
        except (SlowReader, TimeoutError):
            # It is not read, either. Left without an end, the response tells its client that it broke off.
            return
    await line.end()


async def _copy(exchange: Exchange, reply: Reply, writer: EventWriter, line: EventLine) -> None:
    """Nothing leaves before the first output: until then a failure still has its own status.

    What is at hand leaves together: a write costs more than an event.
    """
    withheld: list[bytes] = []
    size, is_due = 0, False
    async with aclosing(reply.events()) as events:
        async for event in events:
            if isinstance(event, Finished):
                await line.write(b"".join(withheld) + writer.closing(event))
                exchange.live.answered(reply, event.receipt)
                return
            said = writer.delta(event)
            withheld.append(said)
            size += len(said)
            is_due = is_due or event.is_output
            if is_due and (size >= WRITE_BYTES or not reply.has_next):
                if not line.is_open:
                    exchange.live.output(reply)
                if size or not line.is_open:
                    await line.write(b"".join(withheld))
                withheld.clear()
                size = 0
    raise AssertionError("a reply ended without its account")
