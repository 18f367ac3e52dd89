"""The load generator, on servers that answer as a test says."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from statistics import median

from benchmarks import load as loads
from benchmarks.load import Target, body, run_load

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"
FAILED = OK.replace(b"200 OK", b"500 No")
STALL_S = 0.3


class Scripted(asyncio.Protocol):
    """One connection that answers each request as `answer` says."""

    def __init__(self, answer: Callable[[asyncio.Transport], None]) -> None:
        self._answer = answer

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        if data.endswith(b"}"):
            self._answer(self._transport)


@asynccontextmanager
async def answering(answer: Callable[[asyncio.Transport], None]) -> AsyncIterator[Target]:
    server = await asyncio.get_running_loop().create_server(lambda: Scripted(answer), "127.0.0.1", 0)
    try:
        yield Target(server.sockets[0].getsockname()[1])
    finally:
        server.close()


def stalling_once() -> Callable[[asyncio.Transport], None]:
    """Its first answer comes late, all others at once."""
    delays_s = iter((STALL_S,))

    def answer(transport: asyncio.Transport) -> None:
        asyncio.get_running_loop().call_later(next(delays_s, 0), transport.write, OK)

    return answer


async def test_a_stall_makes_every_call_late_that_was_due_meanwhile():
    async with answering(stalling_once()) as target:
        measured = await run_load(target, body("m"), connections=1, seconds=STALL_S - 0.01, rate=50)
    assert len(measured.latencies_ms) == 15
    assert measured.quantile_ms(1.0) >= STALL_S * 990
    # Evenly due over the stall, so half of them waited for more than half of it.
    assert median(measured.latencies_ms) >= STALL_S * 450


async def test_a_closed_load_sees_the_same_stall_once():
    async with answering(stalling_once()) as target:
        measured = await run_load(target, body("m"), connections=1, seconds=STALL_S + 0.2)
    assert len(measured.latencies_ms) > 10
    assert median(measured.latencies_ms) < STALL_S * 450


async def test_no_time_is_one_call_on_each_connection():
    async with answering(lambda transport: transport.write(OK)) as target:
        measured = await run_load(target, body("m"), connections=7, seconds=0)
    assert (len(measured.latencies_ms), measured.failures) == (7, 0)


async def test_what_was_refused_or_cut_off_or_never_answered_has_failed(monkeypatch):
    monkeypatch.setattr(loads, "PATIENCE_S", 0.1)
    for answer in (
        lambda transport: transport.write(FAILED),
        lambda transport: transport.abort(),
        lambda _: None,
    ):
        async with answering(answer) as target:
            measured = await run_load(target, body("m"), connections=3, seconds=0)
        assert (len(measured.latencies_ms), measured.failures) == (0, 3)


def test_connections_of_an_open_load_take_turns():
    assert [loads._pace(number, 4, 200) for number in range(4)] == [
        (0.0, 0.02),
        (0.005, 0.02),
        (0.01, 0.02),
        (0.015, 0.02),
    ]


def test_prompts_differ_unless_they_are_to_be_equal_and_are_as_long_as_asked():
    different, equal = body("m"), body("m", equal=True)
    assert different() != different()
    assert equal() == equal()
    assert len(body("m", size=1000)()) >= 1000
