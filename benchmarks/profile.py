"""`python -m benchmarks.profile`: where the processor time of one call goes. Prints the tables of benchmarks/README.md.

Rates on a machine that others use say little, so what is told is processor time, by thread, of one process on one core.
Where the event loop's share of it goes is sampled by py-spy, if that is installed: it stops the process for each look,
so its samples are only used as shares of what was measured without it. A call's statements are counted on a ledger of
its own. Takes about two minutes.
"""

import asyncio
import re
import shutil
import subprocess
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final
from unittest.mock import patch

import msgspec
import uvloop
from rich.console import Console
from rich.markup import escape

from benchmarks import ledger as pairs
from benchmarks.load import Body, body, run_load
from benchmarks.processes import Process, running_floor, running_gateway, running_upstream, stay_on_load_core
from ledger.ledger import open_ledger
from ledger.sqlite import batches
from ledger.values import AdmitRequest, Hit, HitAgain, Lead

CONNECTIONS: Final = 16
WARM_UP_S: Final = 2.0
MEASURED_S: Final = 6.0
SAMPLED_S: Final = 12.0
SAMPLES_A_SECOND: Final = 150
LEAST_SHARE: Final = 0.02

LOADS: Final[dict[str, Body]] = {
    "miss": body("bench"),
    "hit": body("bench", equal=True),
    "stream of 100 events": body("bench", stream=True),
}
# What the code of a frame is for; the innermost frame that is named here decides. Longer prefixes come first.
AREAS: Final = (
    ("router/providers/", "provider: request, connection, answer"),
    ("aiohttp/", "provider: request, connection, answer"),
    ("httpx/", "provider: request, connection, answer"),
    ("router/tokens/", "counting tokens"),
    ("router/token_estimates", "counting tokens"),
    *((f"router/{name}", "plan: route, price, bounds, key") for name in (
        "plan", "planning", "bounds", "kinds", "cachekey", "asked", "ordering", "capabilities", "pressure", "likely",
    )),
    *((f"router/{name}", "what is known of deployments") for name in (
        "health", "speed", "hint", "pacing", "breaker", "recent", "memory",
    )),
    *((f"router/{name}", "facts for spans and metrics") for name in ("tracing", "books", "receipt")),
    ("telemetry/", "facts for spans and metrics"),
    ("router/again", "ledger, on the loop's side"),
    ("router/", "attempt and flight"),
    ("ledger/", "ledger, on the loop's side"),
    ("aiosqlite/", "ledger, on the loop's side"),
    ("service/", "edge: HTTP, body, headers, answer"),
    ("granian/", "edge: HTTP, body, headers, answer"),
)  # fmt: skip
NOT_OURS: Final = "event loop itself"
_FRAME: Final = re.compile(r".* \((.*):\d+\)")
_THREAD: Final = re.compile(r"thread \((\d+)\)(?:: (.*))?")


class Spent(msgspec.Struct, frozen=True):
    """Processor time of one thread for one call, and how often it waited for something meanwhile."""

    us: float
    waits: float


class Profile(msgspec.Struct, frozen=True):
    """One kind of call. threads: {thread id: what it spent}; shares: {area: of the loop's time}."""

    threads: dict[int, Spent]
    names: dict[int, str]
    shares: dict[str, float]

    @property
    def us(self) -> float:
        """All threads together."""
        return sum(spent.us for spent in self.threads.values())

    def by_name(self) -> dict[str, float]:
        """{what a thread is for: what those for it spent}, the most first."""
        spent_us: dict[str, float] = defaultdict(float)
        for thread, spent in self.threads.items():
            spent_us[self.names.get(thread) or "the HTTP server's own threads"] += spent.us
        return dict(sorted(spent_us.items(), key=lambda found: -found[1]))


def main() -> None:
    """Measure, and print Markdown."""
    stay_on_load_core()
    console = Console(width=120, soft_wrap=True, highlight=False)
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="farthing-bench-"))
        upstream = stack.enter_context(running_upstream())
        gateway = stack.enter_context(running_gateway(Path(folder), upstream.port))
        floor = stack.enter_context(running_floor(upstream.port))
        least = measured(floor, body("m"), samples=False)
        profiles = {kind: measured(gateway, make) for kind, make in LOADS.items()}
    for line in (*by_thread(profiles, least), "", *by_area(profiles), "", *uvloop.run(statements())):
        console.print(escape(line))


def measured(process: Process, make: Body, *, samples: bool = True) -> Profile:
    """What a call of this kind costs there."""
    _load(process, make, WARM_UP_S)
    before = read_threads(process.pid)
    calls = _load(process, make, MEASURED_S)
    after = read_threads(process.pid)
    spent = {}
    for thread, (ns, waits) in after.items():
        ns_before, waits_before = before.get(thread, (0, 0))
        spent[thread] = Spent((ns - ns_before) / calls / 1000, (waits - waits_before) / calls)
    sampled = list(_sampled(process, make)) if samples else []
    return Profile(spent, names_of(sampled) | {process.pid: "event loop"}, shares_of(sampled, process.pid))


def read_threads(pid: int) -> dict[int, tuple[int, int]]:
    """{thread id: (nanoseconds on a processor, times that it waited)} of a process."""
    found = {}
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            ns = int((task / "schedstat").read_text("ascii").split()[0])
            status = (task / "status").read_text("utf-8")
        except OSError:
            continue  # It has just ended.
        found[int(task.name)] = (ns, int(status.partition("\nvoluntary_ctxt_switches:")[2].split()[0]))
    return found


def names_of(sampled: Iterable[str]) -> dict[int, str]:
    """{thread id: what it is for}, as far as a sample of it tells."""
    names: dict[int, str] = {}
    for line in sampled:
        first, _, rest = line.partition(";")
        found = _THREAD.match(first)
        if found is None:
            continue
        name = found[2] or ""
        if "_commit_in_turn" in rest:
            name = "ledger writer"
        elif "connection_wor" in name:
            name = "ledger reader"
        names.setdefault(int(found[1]), name)
        if name == "ledger writer":
            names[int(found[1])] = name
    return names


def shares_of(sampled: Iterable[str], main_thread: int) -> dict[str, float]:
    """{area: its share of what the main thread did}, the largest first."""
    counts: Counter[str] = Counter()
    for line in sampled:
        stack, _, count = line.rpartition(" ")
        thread, *frames = stack.split(";")
        if (found := _THREAD.match(thread)) is not None and int(found[1]) == main_thread:
            counts[area_of(frames)] += int(count)
    total = counts.total()
    return {area: count / total for area, count in counts.most_common()}


def area_of(frames: list[str]) -> str:
    """What the innermost frame that is known is for."""
    for frame in reversed(frames):
        found = _FRAME.match(frame)
        path = found[1] if found is not None else ""
        for prefix, area in AREAS:
            # What serves is beneath every call, and idle there.
            if path.startswith(prefix) and path not in {"service/server.py", "service/commands/serve.py"}:
                return area
    return NOT_OURS


def by_thread(profiles: dict[str, Profile], floor: Profile) -> list[str]:
    """A Markdown table: processor time of one call, by thread."""
    columns = {**profiles, "the floor's call": floor}
    lines = [f"| CPU of one call, µs | {' | '.join(columns)} |", "| --- |" + " ---: |" * len(columns)]
    per_name = [profile.by_name() for profile in columns.values()]
    for name in dict.fromkeys(name for spent_us in per_name for name, us in spent_us.items() if us >= 1):
        told = [f"{spent_us.get(name, 0.0):,.0f}" for spent_us in per_name]
        lines += [f"| {name} | {' | '.join(told)} |"]
    lines.append(f"| all | {' | '.join(f'{profile.us:,.0f}' for profile in columns.values())} |")
    waits = (sum(spent.waits for spent in profile.threads.values()) for profile in columns.values())
    lines.append(f"| times that a thread waited | {' | '.join(f'{each:.1f}' for each in waits)} |")
    return lines


def by_area(profiles: dict[str, Profile]) -> list[str]:
    """A Markdown table: where the event loop's time goes."""
    loops_us = [profile.by_name()["event loop"] for profile in profiles.values()]
    lines = [f"| of it the event loop's, µs | {' | '.join(profiles)} |", "| --- |" + " ---: |" * len(profiles)]
    areas = [area for profile in profiles.values() for area, share in profile.shares.items() if share >= LEAST_SHARE]
    for area in dict.fromkeys(areas):
        told = [f"{us * it.shares.get(area, 0.0):,.0f}" for us, it in zip(loops_us, profiles.values(), strict=True)]
        lines += [f"| {area} | {' | '.join(told)} |"]
    return lines


async def statements() -> list[str]:
    """A Markdown table: the statements of one call, with the programs of triggers that they start."""
    counts: dict[str, list[str]] = {}
    with tempfile.TemporaryDirectory() as folder:
        async with open_ledger(f"sqlite:{folder}/count.db", clock_ms=pairs.now_ms) as ledger:
            await ledger.configure_ceilings(pairs.CEILINGS)
            for number in range(2):  # The first one opens its windows.
                request = pairs._request(number)
                with counted() as counts["admission"]:
                    lead = await ledger.admit(request)
                assert isinstance(lead, Lead)
                with counted() as counts["settlement"]:
                    await ledger.settle(pairs._settlement(request, lead))
            again = msgspec.structs.replace(pairs._request(2), lookup=request.lookup)
            with counted() as counts["hit"]:
                assert isinstance(await ledger.admit(again), Hit)
            with counted() as counts["hit at hand"]:
                assert await ledger.hit_again(_at_hand(again, request.facts.generation_id))
    lines = ["| statements and programs of triggers, beside a batch's own | |", "| --- | ---: |"]
    return lines + [f"| {name} | {len(found)} |" for name, found in counts.items()]


def _at_hand(request: AdmitRequest, answer_of: str) -> HitAgain:
    assert request.lookup is not None
    return HitAgain(
        facts=msgspec.structs.replace(request.facts, generation_id="at hand"),
        cache_key=request.lookup.cache_key,
        answer_of=answer_of,
        deployment=request.bids[0].deployment,
        saved_nanousd=0,
        now_ms=request.now_ms,
    )


@contextmanager
def counted() -> Iterator[list[str]]:
    """What the writer runs while the block does."""
    found: list[str] = []
    run = batches._run_bare

    def traced(db: Any, work: Any) -> object:
        db.set_trace_callback(found.append)
        try:
            return run(db, work)
        finally:
            db.set_trace_callback(None)

    with patch.object(batches, "_run_bare", traced):
        yield found


def _load(process: Process, make: Body, seconds: float) -> int:
    load = run_load(process.target(), make, connections=CONNECTIONS, seconds=seconds)
    return len(asyncio.run(load).latencies_ms)


def _sampled(process: Process, make: Body) -> Iterator[str]:
    """Lines of `frame;frame;… count`, if there is a py-spy to take them."""
    spy = shutil.which("py-spy")
    if spy is None:
        return
    with tempfile.NamedTemporaryFile(suffix=".raw") as out:
        asked = (
            "-d",
            f"{SAMPLED_S:.0f}",
            "-r",
            f"{SAMPLES_A_SECOND}",
            "-f",
            "raw",
            "-o",
            out.name,
            "--threads",
            "--gil",
        )
        command = [spy, "record", "-p", f"{process.pid}", *asked]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL):
            _load(process, make, SAMPLED_S)
        yield from Path(out.name).read_text("utf-8").splitlines()


if __name__ == "__main__":
    main()
