"""Loads on one address: closed, each connection sending its next call once the last is answered, or open, at a rate.

An open load sends by the clock, and a latency counts from when its call was due, not from when a busy connection could
send it: a server that stands still for a second has made every call of that second late, not one. (Gil Tene calls
leaving that out "coordinated omission".)
"""

import asyncio
import itertools
import time
from collections.abc import Callable, Mapping
from typing import Final

import msgspec

Body = Callable[[], bytes]
CHAT: Final = "/v1/chat/completions"
HOST: Final = "127.0.0.1"
# Whoever has not answered by then never will; its calls have failed.
PATIENCE_S: Final = 15.0
_END_OF_HEAD: Final = b"\r\n\r\n"
# Over all loads of a run: a prompt that came before would be a hit.
_SERIAL: Final = itertools.count()


class Target(msgspec.Struct, frozen=True):
    """Where calls go on this machine, and what they must say. headers: beside those of every request."""

    port: int
    path: str = CHAT
    model: str = "m"
    headers: Mapping[str, str] = {}


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """What one load saw. Latencies in milliseconds, sorted; first_ms: until the first event of each stream.

    ended_s: when the last answer was whole, by the clock that `time.perf_counter` reads.
    """

    seconds: float
    latencies_ms: list[float]
    first_ms: list[float]
    failures: int
    ended_s: float

    @property
    def per_second(self) -> float:
        """Answers a second."""
        return len(self.latencies_ms) / self.seconds

    def quantile_ms(self, quantile: float) -> float:
        """A latency quantile."""
        return _at(self.latencies_ms, quantile)

    def first_quantile_ms(self, quantile: float) -> float:
        """A quantile of the time to the first event."""
        return _at(self.first_ms, quantile)


def body(model: str, *, stream: bool = False, equal: bool = False, size: int = 0) -> Body:
    """A function that makes request bodies: each unlike all before it, or with `equal` the same one each time.

    size: the prompt is at least so many bytes long.
    """
    tail = ',"stream":true}' if stream else "}"
    more = " The half farthing was the smallest coin." * -(-size // 41)

    def make() -> bytes:
        prompt = "the same" if equal else f"call {next(_SERIAL)}"
        return f'{{"model":"{model}","messages":[{{"role":"user","content":"{prompt}{more}"}}]{tail}'.encode()

    return make


async def run_load(
    target: Target, body: Body, *, connections: int, seconds: float, rate: float | None = None, method: str = "POST"
) -> Measured:
    """Load this target for so long. body: makes the next request's body, so that calls can differ or be equal.

    seconds: 0 is one call on each connection. rate: calls a second over all connections, by the clock.
    """
    said = "".join(f"{name}: {value}\r\n" for name, value in target.headers.items())
    line = f"{method} {target.path} HTTP/1.1\r\nhost: {HOST}:{target.port}\r\n"
    head = f"{line}content-type: application/json\r\n{said}".encode()
    clients = [Client(head, (HOST, target.port), body) for _ in range(connections)]
    # Open before the clock starts: connecting is not what is measured.
    await asyncio.gather(*(client.connect() for client in clients))
    began_s = time.perf_counter()
    runs = (
        client.run(began_s, began_s + seconds, *_pace(number, connections, rate))
        for number, client in enumerate(clients)
    )
    ending = asyncio.gather(*runs)
    try:
        await asyncio.wait_for(ending, seconds + PATIENCE_S)
    except TimeoutError:
        for client in clients:
            client.give_up()
    ended_s = max((client.answered_s for client in clients), default=began_s)
    return Measured(
        seconds=max(ended_s - began_s, 1e-9),
        latencies_ms=sorted(ms for client in clients for ms in client.latencies_ms),
        first_ms=sorted(ms for client in clients for ms in client.first_ms),
        failures=sum(client.failures for client in clients),
        ended_s=ended_s,
    )


class Client(asyncio.Protocol):
    """One keep-alive connection. Reads whole answers, by length or by chunks, and times them."""

    def __init__(self, head: bytes, address: tuple[str, int], next_body: Callable[[], bytes]) -> None:
        self._address = address
        self._head = head
        self._next_body = next_body
        self._buffer = bytearray()
        self._is_first = True
        self._is_waiting = False
        self._due_s = 0.0
        self.answered_s = 0.0
        self.latencies_ms: list[float] = []
        self.first_ms: list[float] = []
        self.failures = 0

    async def connect(self) -> None:
        """Open the connection."""
        self._loop = asyncio.get_running_loop()
        self._done: asyncio.Future[None] = self._loop.create_future()
        transport, _ = await self._loop.create_connection(lambda: self, *self._address)
        self._transport = transport

    async def run(self, began_s: float, ends_at_s: float, offset_s: float, interval_s: float | None) -> None:
        """Send and read until the time is up. interval_s: send this far apart, the first call after the offset."""
        self._ends_at_s, self._interval_s = ends_at_s, interval_s
        self._due_s = began_s + offset_s
        self._send_when_due()
        await self._done
        self._transport.close()

    def give_up(self) -> None:
        """Count what is still not answered as failed, and end."""
        self._end()
        self._transport.close()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        end = self._buffer.find(_END_OF_HEAD)
        if end < 0:
            return
        head = bytes(self._buffer[:end]).lower()
        is_chunked = b"transfer-encoding: chunked" in head
        if is_chunked and self._is_first and b"data:" in self._buffer:
            self._is_first = False
            self.first_ms.append((time.perf_counter() - self._due_s) * 1000)
        if not _is_whole(self._buffer, end + 4, head, is_chunked=is_chunked):
            return
        self._buffer.clear()
        self._answered(is_ok=head.startswith(b"http/1.1 200"))

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._done.done():
            self._is_waiting = True  # A connection that is gone takes its next call with it.
            self._end()

    def _send_when_due(self) -> None:
        wait_s = self._due_s - time.perf_counter()
        if wait_s > 0:
            self._loop.call_later(wait_s, self._send)
        else:
            self._send()

    def _send(self) -> None:
        if self._done.done():
            return
        body = self._next_body()
        self._is_first = self._is_waiting = True
        if self._interval_s is None:
            self._due_s = time.perf_counter()
        self._transport.write(b"%bcontent-length: %d\r\n\r\n%b" % (self._head, len(body), body))

    def _answered(self, *, is_ok: bool) -> None:
        self.answered_s, self._is_waiting = time.perf_counter(), False
        if is_ok:
            self.latencies_ms.append((self.answered_s - self._due_s) * 1000)
        else:
            self.failures += 1
        self._due_s = self.answered_s if self._interval_s is None else self._due_s + self._interval_s
        if self._due_s < self._ends_at_s:
            self._send_when_due()
        else:
            self._end()

    def _end(self) -> None:
        self.failures += self._is_waiting
        self._is_waiting = False
        if not self._done.done():
            self._done.set_result(None)


def _pace(number: int, connections: int, rate: float | None) -> tuple[float, float | None]:
    """When a connection sends its first call, and how long after it each next one: all take turns. Pure."""
    return (0.0, None) if rate is None else (number / rate, connections / rate)


def _is_whole(buffer: bytearray, start: int, head: bytes, *, is_chunked: bool) -> bool:
    if is_chunked:
        return buffer.endswith(b"0\r\n\r\n")
    length = int(head.split(b"content-length:")[1].split(b"\r\n")[0])
    return len(buffer) >= start + length


def _at(ordered: list[float], quantile: float) -> float:
    return ordered[min(len(ordered) - 1, int(quantile * len(ordered)))] if ordered else float("nan")
