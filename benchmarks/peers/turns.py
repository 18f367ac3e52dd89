"""One gateway's turn in a round: started anew, loaded in every way, ended. What it came to is a few named figures."""

import tempfile
import time
from pathlib import Path
from typing import Final

import msgspec
import uvloop

from benchmarks import measures
from benchmarks.load import Measured
from benchmarks.measures import Contender, Rate, Streams
from benchmarks.peers.environments import last_words
from benchmarks.peers.gateways import SAID, Gateway
from benchmarks.processes import Process, seen_by, wait_for_answer

FEW: Final = 16
MANY: Final = 256
# By the clock, over connections beyond what any of them needs: a rate that all of them can do.
A_SECOND: Final = 50
OPEN_CONNECTIONS: Final = 100
# More failures than this, of all that was asked, and there is no figure.
FAILURES_ALLOWED: Final = 0.01

# {figure: its value; None: its calls failed}. One that does not apply to a gateway is not in it.
Figures = dict[str, float | None]


class NotMeasured(Exception):
    """It did not come so far as to answer. reason: its last words."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Asked(msgspec.Struct, frozen=True):
    """What a turn is given. direct: the same upstream without a gateway, measured beside it."""

    upstream: Process
    direct: Contender
    seconds: float


def turn(gateway: Gateway, asked: Asked) -> Figures:
    """Start it, measure it, end it. Raises NotMeasured."""
    with tempfile.TemporaryDirectory(prefix="farthing-bench-") as name:
        folder = Path(name)
        try:
            began_s = time.perf_counter()
            with gateway.running(folder, asked.upstream.port) as contender:
                figures: Figures = {"start_s": wait_for_answer(contender.now) - began_s}
                figures["idle_mb"] = contender.process.rss_mb()
                figures |= uvloop.run(_loads(contender, asked, hits=gateway.is_kept))
                figures["after_mb"] = contender.process.rss_mb()
                return figures
        except TimeoutError as error:
            said = folder / SAID
            words = last_words(said.read_text("utf-8", "replace")) if said.exists() else ""
            raise NotMeasured(words or str(error)) from error


async def _loads(contender: Contender, asked: Asked, *, hits: bool) -> Figures:
    few = await measures.rate(contender, FEW, asked.seconds)
    many = await measures.rate(contender, MANY, asked.seconds)
    figures: Figures = {
        "proxied": _rate(few),
        "cpu_ms": _of(few, few.cpu_us / 1000),
        "proxied_many": _rate(many),
    }
    if hits:
        figures["hits"] = await _hits(contender, asked)
    if contender.slow is None:
        return figures
    return figures | await _waits(contender, asked) | await _streams(contender, asked)


async def _hits(contender: Contender, asked: Asked) -> float | None:
    """Answers a second to one question; None if the upstream was asked again, so that these were no hits."""
    before = seen_by(asked.upstream).calls
    measured = await measures.rate(contender, FEW, asked.seconds, equal=True)
    # Where equal calls do not wait for each other, each connection's first one may have gone there.
    return _rate(measured) if seen_by(asked.upstream).calls - before <= FEW else None


async def _waits(contender: Contender, asked: Asked) -> Figures:
    """What is added to an upstream that thinks, and what it hears of equal calls."""
    closed: list[Measured] = []
    opened: list[Measured] = []
    for it in (asked.direct, contender):
        closed.append(await measures.latency(it, FEW, asked.seconds))
        opened.append(await measures.latency(it, OPEN_CONNECTIONS, asked.seconds, a_second=A_SECOND))
    equal = await measures.equal_calls(contender, asked.upstream)
    return {
        "closed_p50_ms": added_ms(closed, 0.5),
        "closed_p99_ms": added_ms(closed, 0.99),
        "open_p50_ms": added_ms(opened, 0.5),
        "open_p99_ms": added_ms(opened, 0.99),
        "upstream_calls": None if equal.failures else equal.upstream_calls,
    }


async def _streams(contender: Contender, asked: Asked) -> Figures:
    figures: Figures = {}
    for name, connections in (("first_ms", FEW), ("first_alone_ms", 1)):
        direct, through = [await measures.streams(it, connections, asked.seconds) for it in (asked.direct, contender)]
        figures[name] = _of(through, through.first_p50_ms - direct.first_p50_ms)
        if connections == FEW:
            figures["streams"] = _of(through, through.per_second)
    return figures


def added_ms(loads: list[Measured], quantile: float) -> float | None:
    """How much later a quantile comes than without the gateway; None if calls failed. loads: direct, through it."""
    direct, through = loads
    if not _is_sound(len(through.latencies_ms), through.failures):
        return None
    return through.quantile_ms(quantile) - direct.quantile_ms(quantile)


def _rate(rate: Rate) -> float | None:
    return _of(rate, rate.per_second)


def _of(measured: Rate | Streams, figure: float) -> float | None:
    return figure if _is_sound(measured.answers, measured.failures) else None


def _is_sound(answers: int, failures: int) -> bool:
    return answers > 0 and failures <= FAILURES_ALLOWED * (answers + failures)
