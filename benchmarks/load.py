"""A closed-loop load: so many connections, each sending its next request when the last one is answered."""

import asyncio
import itertools
import time
from collections.abc import Callable
from typing import Final

import msgspec

Body = Callable[[], bytes]
_END_OF_HEAD: Final = b"\r\n\r\n"
# Over all loads of a run: a prompt that came before would be a hit.
_SERIAL: Final = itertools.count()


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """What one load saw. Latencies in milliseconds, sorted; first_ms: until the first event of each stream."""

    seconds: float
    latencies_ms: list[float]
    first_ms: list[float]
    failures: int

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


def body(route: str, *, stream: bool = False, equal: bool = False) -> Body:
    """A function that makes request bodies: each unlike all before it, or with `equal` the same one each time."""
    tail = ',"stream":true}' if stream else "}"

    def make() -> bytes:
        prompt = "the same" if equal else f"call {next(_SERIAL)}"
        return f'{{"model":"{route}","messages":[{{"role":"user","content":"{prompt}"}}]{tail}'.encode()

    return make


async def run_load(
    host: str, port: int, path: str, body: Body, *, connections: int, seconds: float, method: str = "POST"
) -> Measured:
    """Load this path for so long. body: makes the next request's body, so that calls can differ or be equal."""
    ends_at_s = time.perf_counter() + seconds
    clients = [Client(f"{method} {path}", (host, port), body, ends_at_s) for _ in range(connections)]
    began_s = time.perf_counter()
    await asyncio.gather(*(client.run() for client in clients))
    elapsed_s = time.perf_counter() - began_s
    return Measured(
        seconds=elapsed_s,
        latencies_ms=sorted(ms for client in clients for ms in client.latencies_ms),
        first_ms=sorted(ms for client in clients for ms in client.first_ms),
        failures=sum(client.failures for client in clients),
    )


class Client(asyncio.Protocol):
    """One keep-alive connection. Reads whole answers, by length or by chunks, and times them."""

    def __init__(self, asks: str, address: tuple[str, int], next_body: Callable[[], bytes], ends_at_s: float) -> None:
        self._address = address
        host, port = address
        self._head = f"{asks} HTTP/1.1\r\nhost: {host}:{port}\r\ncontent-type: application/json\r\n".encode()
        self._next_body = next_body
        self._ends_at_s = ends_at_s
        self._buffer = bytearray()
        self._sent_s = 0.0
        self._is_first = True
        self.latencies_ms: list[float] = []
        self.first_ms: list[float] = []
        self.failures = 0

    async def run(self) -> None:
        """Send and read until the time is up."""
        loop = asyncio.get_running_loop()
        self._done: asyncio.Future[None] = loop.create_future()
        transport, _ = await loop.create_connection(lambda: self, *self._address)
        self._transport = transport
        self._send()
        await self._done
        transport.close()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        end = self._buffer.find(_END_OF_HEAD)
        if end < 0:
            return
        head = bytes(self._buffer[:end]).lower()
        is_chunked = b"transfer-encoding: chunked" in head
        if is_chunked and self._is_first and b"data:" in self._buffer:
            self._is_first = False
            self.first_ms.append((time.perf_counter() - self._sent_s) * 1000)
        if not _is_whole(self._buffer, end + 4, head, is_chunked=is_chunked):
            return
        self._buffer.clear()
        self._answered(is_ok=head.startswith(b"http/1.1 200"))

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._done.done():
            self.failures += 1
            self._done.set_result(None)

    def _send(self) -> None:
        body = self._next_body()
        self._sent_s, self._is_first = time.perf_counter(), True
        self._transport.write(b"%bcontent-length: %d\r\n\r\n%b" % (self._head, len(body), body))

    def _answered(self, *, is_ok: bool) -> None:
        now_s = time.perf_counter()
        if is_ok:
            self.latencies_ms.append((now_s - self._sent_s) * 1000)
        else:
            self.failures += 1
        if now_s < self._ends_at_s:
            self._send()
        elif not self._done.done():
            self._done.set_result(None)


def _is_whole(buffer: bytearray, start: int, head: bytes, *, is_chunked: bool) -> bool:
    if is_chunked:
        return buffer.endswith(b"0\r\n\r\n")
    length = int(head.split(b"content-length:")[1].split(b"\r\n")[0])
    return len(buffer) >= start + length


def _at(ordered: list[float], quantile: float) -> float:
    return ordered[min(len(ordered) - 1, int(quantile * len(ordered)))] if ordered else float("nan")
