"""A whole router over a real ledger and a real transport, with the scripted upstream as every provider.

    async with scripted_upstream() as upstream, open_gateway(tmp_path, upstream) as house:
        finished = await house.ask(a_call("hello"))

Leaving it proves that nothing leaked: no hold, flight, permit or task, a ledger that audits clean, and metrics that
say the same as it.
"""

import asyncio
import inspect
import itertools
import math
import random
import socket
import sqlite3
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing, asynccontextmanager, closing, contextmanager
from pathlib import Path
from typing import Any, Final

from ledger.bodies import Bodies
from ledger.ceilings import Ceiling
from ledger.ledger import Ledger, open_ledger
from ledger.prices import Price
from ledger.prices.price import Tier
from ledger.reports import SpendQuery
from ledger.sqlite.verify import verify_file
from router import gateway as gateway_module
from router.answer import Delta
from router.asked import SharingRules
from router.attempt import AttemptRunner
from router.books import Books
from router.breaker import BreakerRule
from router.call import Attribution, CacheMode, CacheWish, Call, Trace
from router.deployments import Deployment, HedgeRule, Provider, Route
from router.dispatch import Dispatcher
from router.errors import UnknownModel
from router.gates import Gates
from router.gateway import LedgerGateway
from router.habits import Habits
from router.health import Health
from router.limits import StreamLimits
from router.ordering import Ordering
from router.providers.remote import remote_dialects
from router.providers.transport import open_transport
from router.providers.upstream import Upstream
from router.reply import Finished, Reply
from router.strategy import Strategy
from router.tokens import TokenCounter
from telemetry.metrics import Recorder
from tests.upstream import ScriptedUpstream

READ_NANOUSD: Final = 100
WRITTEN_NANOUSD: Final = 400
# A token read costs 100 nano-dollars, a token written 400.
PRICE: Final = Price(version="test", base=Tier(input=READ_NANOUSD * 10**6, output=WRITTEN_NANOUSD * 10**6))
_names = itertools.count()


def a_call(
    text: str = "hello there",
    *,
    model: str | None = None,
    stream: bool = False,
    mode: CacheMode = "use",
    ttl_s: int | None = None,
    deadline_s: float = 20.0,
    max_cost_nanousd: int | None = None,
    body: dict[str, Any] | None = None,
    user: str = "",
) -> Call:
    """A call with an id of its own. body: further fields of the completion."""
    name = next(_names)
    return Call(
        generation_id=f"gen_{name}",
        model=model,
        body={"messages": [{"role": "user", "content": text}], "max_tokens": 50, **(body or {})},
        stream=stream,
        received_at_ms=now_ms(),
        deadline_s=deadline_s,
        attribution=Attribution(user=user),
        cache=CacheWish(mode=mode, ttl_s=ttl_s),
        trace=Trace(trace_id=f"{name:032x}", server_span_id="1" * 16, chat_span_id="2" * 16),
        max_cost_nanousd=max_cost_nanousd,
    )


def a_deployment(name: str, base_url: str, *, price: Price | None = PRICE, **provider: Any) -> Deployment:
    """`name:model-name` at this address, so that the upstream can tell deployments apart by their model."""
    return Deployment(
        provider=Provider(**{"name": name, "dialect": "openai", "base_url": base_url, **provider}),
        model=f"model-{name}",
        price=price,
        encoding="cl100k_base",
    )


def now_ms() -> int:
    """Wall time, milliseconds UTC."""
    return time.time_ns() // 1_000_000


@contextmanager
def refused_port() -> Iterator[str]:
    """A base URL at which nobody listens, and nobody will: its port stays taken."""
    with closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}/v1"


class Menu:
    """One route, `chat`. Implements `router.gateway.Routes` and `router.status.Deployments`."""

    def __init__(self, route: Route) -> None:
        self._route = route
        self.routes = (route,)

    def resolve(self, model: str | None) -> Route:
        if model not in {None, self._route.name}:
            raise UnknownModel(model or "", (self._route.name,))
        return self._route


# Less than a lease.
LEASE_STEP_S = 10.0


class Clock:
    """Wall time for the ledger and the breakers' time, both of which tests may put forward."""

    def __init__(self) -> None:
        self.forward_s = 0.0

    def now_s(self) -> float:
        return time.monotonic() + self.forward_s

    def now_ms(self) -> int:
        return now_ms() + round(self.forward_s * 1000)


class House:
    """The gateway and what stands behind it, for tests to look at."""

    def __init__(
        self,
        gateway: LedgerGateway,
        ledger: Ledger,
        health: Health,
        gates: Gates,
        path: Path,
        clock: Clock,
        habits: Habits,
        recorder: Recorder,
    ) -> None:
        self.gateway = gateway
        self.recorder = recorder
        self.ledger = ledger
        self.health = health
        self.gates = gates
        self.path = path
        self.clock = clock
        self.habits = habits

    async def pass_time(self, span_s: float) -> None:
        """Put the clocks forward as time passes, the ledger's lease being renewed meanwhile."""
        for _ in range(math.ceil(span_s / LEASE_STEP_S)):
            step_s = min(LEASE_STEP_S, span_s)
            span_s -= step_s
            self.clock.forward_s += step_s
            await self.ledger.lease.renew()

    def waiting(self) -> int:
        """How many calls stand in a line for room, the first one included."""
        return sum(line.length for line in self.gateway._room._lines._lines.values())

    def sharing(self) -> int:
        """How many callers listen to the one answer that most listen to."""
        return max((len(flight._listeners) for flight in self.gateway._flights.values()), default=0)

    async def until(self, holds: Callable[[], bool], *, within_s: float = 10.0) -> None:
        """Wait for a condition on what stands behind the gateway."""
        async with asyncio.timeout(within_s):
            while not holds():
                await asyncio.sleep(0.001)

    async def ask(self, call: Call) -> Finished:
        """One call to its end, heard as it asked: as events or whole."""
        return await end_of(await self.gateway.generate(call), stream=call.stream)

    def rows(self, sql: str, **values: Any) -> list[dict[str, Any]]:
        """What the ledger's file says."""
        with closing(sqlite3.connect(self.path)) as db:
            db.row_factory = sqlite3.Row
            return [dict(row) for row in db.execute(sql, values)]

    def write(self, sql: str) -> None:
        """Do to the ledger's file what only an accident does."""
        with closing(sqlite3.connect(self.path)) as db, db:
            db.execute(sql)

    def holds(self, generation_id: str) -> list[dict[str, Any]]:
        """A call's holds in order, each with what was charged for it (None: nothing)."""
        return self.rows(
            "SELECT deployment, holds.held_nanousd, state, outcome, status, error, cost_nanousd, cost_basis"
            "  FROM holds LEFT JOIN postings USING (hold_id) WHERE generation_id = :id ORDER BY attempt",
            id=generation_id,
        )

    def generation(self, generation_id: str) -> dict[str, Any]:
        """A call's line."""
        (row,) = self.rows("SELECT * FROM generations WHERE generation_id = :id", id=generation_id)
        return row

    def count(self, table: str) -> int:
        """How many rows there are."""
        return int(self.rows(f"SELECT COUNT(*) AS n FROM {table}")[0]["n"])

    async def at_rest(self) -> None:
        """Wait until every call is settled; then nothing may be left of any."""
        await self.gateway.aclose()
        assert self.gateway._flights == {}
        assert [gate.in_use for gate in self.gates._gates.values() if gate.in_use] == []
        assert self.rows("SELECT hold_id FROM holds WHERE state = 'held'") == []
        assert self.rows("SELECT cache_key FROM flights") == []
        assert self.rows("SELECT generation_id FROM generations WHERE outcome IS NULL") == []
        assert self.rows("SELECT idempotency_key FROM idempotency WHERE state = 'in_progress'") == []
        findings = verify_file(self.path, on_rule=lambda _: None)
        assert findings.violations == ()
        counted, reported = self.counted(), await self.reported()
        # A hit that nobody waited for any more, or that could not be read, is one in the ledger alone.
        off = {name for name in counted if counted[name] != reported[name]}
        is_close = off <= {"generations", "cache_hits", "saved_nanousd"} and all(
            counted[it] < reported[it] for it in off
        )
        assert is_close, f"metrics say {counted}, the ledger {reported}"

    def counted(self) -> dict[str, int]:
        """What metrics counted, under the names of the spend report."""
        sums: Counter[tuple[str, str]] = Counter()
        for reading in self.recorder.tally.readings():
            for label in ("", *reading.labels):
                sums[reading.instrument.name, label] += reading.numbers[0]
        return {
            "generations": round(sums["farthing.calls", ""]),
            "cache_hits": round(sums["farthing.calls", "hit"]),
            "coalesced": round(sums["farthing.calls", "coalesced"]),
            "attempts": round(sums["farthing.attempts", ""]),
            **{f"{name}_nanousd": round(sums[f"farthing.{name}", ""] * 1e9) for name in ("cost", "saved", "wasted")},
        }

    async def reported(self) -> dict[str, int]:
        """The same as the ledger has it."""
        total = (await self.ledger.spend(SpendQuery()))["total"]
        return {name: total[name] for name in self.counted()}


@asynccontextmanager
async def open_gateway(
    tmp_path: Path,
    upstream: ScriptedUpstream | None = None,
    *,
    targets: tuple[Deployment, ...] = (),
    route_cache: bool | None = None,
    hedge: HedgeRule | None = None,
    strategy: Strategy = "ordered",
    weights: tuple[int, ...] = (),
    ceilings: tuple[Ceiling, ...] = (),
    stream_limits: StreamLimits | None = None,
    breaker: BreakerRule | None = None,
    between: Callable[[Ledger], Ledger] = lambda ledger: ledger,
    dialect: Upstream | None = None,
    ends_at_rest: bool = True,
    bodies: Bodies | None = None,
    **sharing: Any,
) -> AsyncIterator[House]:
    """A gateway for one route.

    targets: left out, `a` and `b`, both at the upstream. between: what the router is given in the ledger's place.
    dialect: what it is given in the place of OpenAI's. ends_at_rest: that nothing leaked is proved on the way out.
    bodies: the cache server. sharing: as SharingRules has it.
    """
    if not targets:
        assert upstream is not None
        targets = (a_deployment("a", upstream.url), a_deployment("b", upstream.url))
    clock, path = Clock(), tmp_path / "ledger.db"
    async with (
        open_ledger(f"sqlite:{path}", clock_ms=clock.now_ms, synchronous="normal", bodies=bodies) as ledger,
        open_transport(limit=1000) as transport,
    ):
        await ledger.configure_ceilings(ceilings)
        route = Route(name="chat", targets=targets, cache=route_cache, hedge=hedge, strategy=strategy, weights=weights)
        routes = (route,)
        health = Health(breaker or BreakerRule(), now_s=clock.now_s, now_ms=clock.now_ms, routes=lambda: routes)
        gates, counter = Gates(target.provider for target in targets), TokenCounter()
        runner = AttemptRunner(
            {**remote_dialects(transport), **({} if dialect is None else {"openai": dialect})},
            gates=gates,
            health=health,
            stream_limits=stream_limits or StreamLimits(),
            clock_ms=clock.now_ms,
        )
        habits, recorder = Habits(ledger, now_ms=clock.now_ms), Recorder()
        gateway = LedgerGateway(
            Menu(*routes),
            between(ledger),
            Dispatcher(
                between(ledger), runner, counter, health.token_estimates, books=Books(recorder), clock_ms=clock.now_ms
            ),
            health,
            SharingRules(**sharing),
            ordering=Ordering(health, habits, random.Random(1)),
            clock_ms=clock.now_ms,
        )
        house = House(gateway, ledger, health, gates, path, clock, habits, recorder)
        yield house
        await (house.at_rest() if ends_at_rest else gateway.aclose())
        assert tasks_of_the_router() == []


def tasks_of_the_router() -> list[asyncio.Task[Any]]:
    """Tasks under way that the router's own code began."""
    folder = str(Path(gateway_module.__file__).parent)
    return [
        task
        for task in asyncio.all_tasks()
        if inspect.iscoroutine(work := task.get_coro()) and work.cr_code.co_filename.startswith(folder)
    ]


@asynccontextmanager
async def closed_at_the_end(reply: Reply) -> AsyncIterator[Reply]:
    """Leave a reply however the block ends, as the service does."""
    try:
        yield reply
    finally:
        await reply.aclose()


async def end_of(reply: Reply, *, stream: bool) -> Finished:
    """Hear a reply to its end, as events or whole, and leave."""
    async with closed_at_the_end(reply):
        return await note(reply, []) if stream else await reply.finished()


async def hear(reply: Reply) -> tuple[list[Delta], Finished]:
    """A reply's events to the end."""
    deltas: list[Delta] = []
    return deltas, await note(reply, deltas)


async def note(reply: Reply, deltas: list[Delta]) -> Finished:
    """Hear a reply's events to the end, and note each one in `deltas` as it comes."""
    async with aclosing(reply.events()) as events:
        async for event in events:
            if isinstance(event, Finished):
                return event
            deltas.append(event)
    raise AssertionError("the events ended without Finished")


def text_of(finished: Finished) -> str:
    """The first choice's text."""
    return finished.answer.choices[0].text or ""
