"""The short way of a request like one that was a hit before: asked of the ledger, and answered, without being read."""

from typing import Final

from router.assemble import replay
from router.call import Call
from router.errors import SlowReader
from router.reply import Finished, Reply
from service.asked import Asked, Wire
from service.form import Forms, Names
from service.headers import HeaderPairs, answering_headers, cost_header
from service.http.exchange import Exchange
from service.http.repeats import ENTRY_BYTES, LONGEST_ANSWER_BYTES, Repeat, Repeats, RequestKey
from service.ids import new_generation_id
from service.parts import Parts
from service.requests import Send
from service.sse import EventLine

# It waits for nothing but the ledger.
_TIMING: Final = b"queue;dur=0.000, ledger;dur=%.3f, upstream;dur=0.000, total;dur=%.3f"


class ShortWay:
    """Of the requests to one path. repeats: all paths'."""

    def __init__(self, wire: Wire, parts: Parts, repeats: Repeats) -> None:
        self._wire = wire
        self._parts = parts
        self._repeats = repeats
        self._forms = Forms()

    async def answered(self, exchange: Exchange, key: RequestKey, send: Send) -> bool:
        """Whether this request is answered. False: it has to be read, and nothing has come of it yet.

        Raises RouterError and LedgerError, as a call does.
        """
        repeat = self._repeats.find(key)
        # Who watches calls sees each of them from its beginning.
        if repeat is None or self._parts.hits is None or self._parts.live.is_watched:
            return False
        now_ms = self._parts.now_ms()
        exchange.generation_id = generation_id = new_generation_id(now_ms)
        served = await self._parts.hits.serve(
            repeat.again, generation_id=generation_id, trace=exchange.trace, received_at_ms=now_ms
        )
        if served is None:
            self._repeats.drop(key)
            return False
        if exchange.is_traced:
            exchange.chat = served.chat_facts()
        names = Names(
            generation_id=generation_id,
            trace_id=exchange.trace.trace_id,
            received_at_ms=now_ms,
            latency_ms=served.latency_ms,
        )
        body = repeat.form.filled(names)
        headers = [*repeat.headers, (b"server-timing", _TIMING % (served.latency_ms, exchange.total_ms))]
        if repeat.again.facts.stream:
            await self._stream(exchange, headers, body, send)
        else:
            await exchange.answer(body, headers)
        return True

    def remember(self, key: RequestKey, call: Call, finished: Finished, reply: Reply, asked: Asked) -> None:
        """This request was a hit: the next one like it takes the short way, if there is one for it."""
        again = reply.again
        # What is long takes long to make a form of.
        if again is None or again.stored_bytes > LONGEST_ANSWER_BYTES:
            return

        def render(call: Call, finished: Finished) -> bytes:
            if not call.stream:
                return self._wire.answer(call, finished)
            writer = self._wire.events(call, reply, asked)
            return b"".join([*map(writer.delta, replay(finished.answer)), writer.closing(finished)])

        form = self._forms.of(render, call, finished)
        if form is not None:
            size = form.size + ENTRY_BYTES
            headers = answering_headers(reply.deployment_id, reply.cache, reply.dropped_params, reply.clamped)
            if not call.stream:
                headers.append(cost_header(finished.receipt))
            self._repeats.keep(key, Repeat(again=again, form=form, headers=headers, size=size))

    async def _stream(self, exchange: Exchange, pairs: HeaderPairs, body: bytes, send: Send) -> None:
        def headers() -> HeaderPairs:
            return [*exchange.id_headers(), *pairs]

        limits = self._parts.limits
        line = EventLine(send, headers, keep_alive_s=limits.keep_alive_s, reader_timeout_s=limits.reader_timeout_s)
        try:
            await line.write(body)
            await line.end()
        except SlowReader as error:
            exchange.problem(error)
        finally:
            await line.aclose()
