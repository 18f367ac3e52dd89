"""What is measured of a gateway, and how: one function a figure, the same for Farthing, the floor and the peers."""

import asyncio
from functools import partial
from typing import Final

import msgspec

from benchmarks.load import Measured, Target, body, run_load
from benchmarks.processes import Process, seen_by

WARM_UP_S: Final = 1.0
EQUAL_CALLS: Final = 60
EQUAL_ROUNDS: Final = 5
LARGE_BYTES: Final = 1_000_000
LARGE_A_SECOND: Final = 10


class Contender(msgspec.Struct, frozen=True):
    """What is measured. now: where calls go that the upstream answers at once; slow: those that it thinks about."""

    name: str
    process: Process
    now: Target
    slow: Target | None = None


class Rate(msgspec.Struct, frozen=True):
    """Answers a second, and the processor time of the contender's own processes for each, in microseconds."""

    per_second: float
    cpu_us: float
    p50_ms: float
    answers: int
    failures: int


class Streams(msgspec.Struct, frozen=True):
    """Streams a second, and how long until the first event of one at the median."""

    per_second: float
    first_p50_ms: float
    answers: int
    failures: int


class Equal(msgspec.Struct, frozen=True):
    """Equal calls at once. upstream_calls: the most that reached the upstream; answered_ms: from its last answer until
    the last caller had one, at the median of the rounds."""

    upstream_calls: int
    answered_ms: float
    failures: int


async def rate(of: Contender, connections: int, seconds: float, *, equal: bool = False) -> Rate:
    """Throughput of calls that all differ, or with `equal` of one call again and again."""
    make = body(of.now.model, equal=equal)
    await run_load(of.now, make, connections=connections, seconds=min(WARM_UP_S, seconds))
    before_s = of.process.cpu_s()
    measured = await run_load(of.now, make, connections=connections, seconds=seconds)
    answers = len(measured.latencies_ms)
    cpu_us = (of.process.cpu_s() - before_s) / max(1, answers) * 1e6
    return Rate(measured.per_second, cpu_us, measured.quantile_ms(0.5), answers, measured.failures)


async def latency(of: Contender, connections: int, seconds: float, *, a_second: float | None = None) -> Measured:
    """Latencies where the upstream thinks. a_second: so many calls by the clock, instead of one after the other."""
    assert of.slow is not None
    make = body(of.slow.model)
    await run_load(of.slow, make, connections=connections, seconds=min(WARM_UP_S, seconds), rate=a_second)
    return await run_load(of.slow, make, connections=connections, seconds=seconds, rate=a_second)


async def streams(of: Contender, connections: int, seconds: float) -> Streams:
    """Streams of as many events as the upstream sends, each unlike all others."""
    make = body(of.now.model, stream=True)
    await run_load(of.now, make, connections=connections, seconds=min(WARM_UP_S, seconds))
    measured = await run_load(of.now, make, connections=connections, seconds=seconds)
    return Streams(measured.per_second, measured.first_quantile_ms(0.5), len(measured.latencies_ms), measured.failures)


async def equal_calls(of: Contender, upstream: Process) -> Equal:
    """Many callers with one question at once, a few times over."""
    assert of.slow is not None
    most, failures, answered_ms = 0, 0, list[float]()
    for number in range(EQUAL_ROUNDS):
        question = partial(bytes, body(of.slow.model)())  # Made once, so sent alike by all.
        before = seen_by(upstream)
        measured = await run_load(of.slow, question, connections=EQUAL_CALLS, seconds=0)
        after = seen_by(upstream)
        if number:  # The first round opens connections.
            answered_ms.append((measured.ended_s - after.answered_s) * 1000)
        most = max(most, after.calls - before.calls)
        failures += measured.failures
    return Equal(most, sorted(answered_ms)[len(answered_ms) // 2], failures)


async def small_calls(of: Contender, seconds: float, *, beside_large: bool) -> Measured:
    """Small calls, one after the other; beside_large: while prompts of a megabyte come by the clock, too."""
    small, large = body(of.now.model), body(of.now.model, size=LARGE_BYTES)
    await run_load(of.now, small, connections=1, seconds=min(WARM_UP_S, seconds))
    async with asyncio.TaskGroup() as loads:
        measured = loads.create_task(run_load(of.now, small, connections=1, seconds=seconds))
        if beside_large:
            loads.create_task(run_load(of.now, large, connections=2, seconds=seconds, rate=LARGE_A_SECOND))
    return measured.result()
