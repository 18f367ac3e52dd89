"""One schedule: a few processes on one file, their callers, and everything that can go wrong, all from one seed."""

import asyncio
import contextvars
import itertools
import random
import shutil
import sqlite3
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

import msgspec

from ledger.ceilings import Ceiling
from ledger.errors import LedgerUnavailable, NotALedger
from ledger.loops import running
from ledger.operations.owners import LeaseRule, Owner
from ledger.sqlite.readers import Readers
from ledger.sqlite.writer import open_store
from ledger.store.company import Clocks
from ledger.store.ledger import StoreLedger
from ledger.store.writer import REOPEN_DELAYS_S, Writer
from ledger.values import CacheBounds
from ledger.verify import verify_ledger
from tests.ledger.calls import BEGAN_MS
from tests.simulation.books import LATE_MS, Books
from tests.simulation.calls import Caller
from tests.simulation.disk import SimulatedConnection, open_connection
from tests.simulation.loop import PROCESS, SimulatedLoop

CEILINGS = (
    Ceiling(scope="global", window="total", limit=7_000),
    Ceiling(scope="user:u1", window="total", limit=6_000),
    Ceiling(scope="provider:p", window="total", limit=8_000),
)
TROUBLE_ENDS_S = 5.0
# Long enough for the callers of a schedule where everybody lives, and for the holds of those that died.
CALM_S = 10.0
LAPSED_S = TROUBLE_ENDS_S + (LeaseRule().lease_ms + LATE_MS) / 1000 + 1


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What a seed has in store. Moments in virtual seconds."""

    processes: int
    callers: int
    fault_rate: float
    crashes: tuple[tuple[float, int], ...]
    stalls: tuple[tuple[float, int, float], ...]
    jumps: tuple[tuple[float, int], ...]
    leave_rate: float
    busy: float

    @property
    def ends_s(self) -> float:
        """When all that it does to the processes has shown its effect."""
        return LAPSED_S if self.crashes or self.stalls else CALM_S


def a_plan(chance: random.Random) -> Plan:
    """The first process neither crashes nor stalls: it is the one that must see to the holds of the others."""
    processes = chance.choice((2, 2, 2, 3))
    others = list(range(1, processes))
    crashes = [(chance.uniform(0.1, TROUBLE_ENDS_S), other) for other in others if chance.random() < 0.4]
    stalls = [(chance.uniform(0.1, TROUBLE_ENDS_S), other) for other in others if chance.random() < 0.25]
    jumps = [(chance.uniform(1, TROUBLE_ENDS_S), chance.choice((-3_600_000, -4_000, 4_000, 14_000, 3_600_000)))]
    return Plan(
        processes=processes,
        callers=chance.choice((2, 3, 4, 4, 8)),
        fault_rate=chance.choice((0, 0, 0.02, 0.1, 0.3)),
        crashes=tuple(crashes),
        stalls=tuple((at_s, other, chance.choice((1.0, 6.0, 17.0))) for at_s, other in stalls),
        jumps=tuple(jumps) if chance.random() < 0.3 else (),
        leave_rate=chance.choice((0, 0.2, 0.6)),
        busy=chance.choice((0, 0.9, 1)),
    )


class World:
    """Runs one seed on a copy of an empty ledger. trace: {virtual seconds} {process}: what happened."""

    def __init__(self, seed: int, empty: Path, folder: Path) -> None:
        self._chance = random.Random(seed)
        self._plan = a_plan(self._chance)
        self._path = folder / f"{seed}.db"
        shutil.copyfile(empty, self._path)
        self._loop = SimulatedLoop(self._chance)
        self._seen = sqlite3.connect(f"{self._path.as_uri()}?mode=ro", uri=True, isolation_level=None)
        self._books = Books(self._seen, windows=len(CEILINGS))
        self._offset_ms = 0
        self._numbers = itertools.count(1)
        self._connections: dict[str, list[SimulatedConnection]] = {}
        self._callers: list[asyncio.Task] = []
        self._dead: set[str] = set()
        self._latest_ms = 0
        self._undisturbed_s = 0.0
        self.trace: list[str] = [f"seed {seed}: {self._plan}"]

    def run(self) -> int:
        """Returns how many steps it took. Raises whatever broke."""
        try:
            self._loop.run_until_complete(self._live())
            findings = verify_ledger(f"sqlite:{self._path}", on_rule=lambda _: None)
            assert findings.violations == (), findings.violations
            self._books.check_promises()
            return self._loop.steps
        finally:
            self._bury()

    async def _live(self) -> None:
        processes = [self._spawn(f"p{number}", self._process) for number in range(self._plan.processes)]
        for at_s, other in self._plan.crashes:
            self._loop.call_later(at_s, self._crash, f"p{other}")
        for at_s, other, for_s in self._plan.stalls:
            self._loop.call_later(at_s, self._stall, f"p{other}", for_s)
        for at_s, by_ms in self._plan.jumps:
            self._loop.call_later(at_s, self._jump, by_ms)
        self._loop.call_later(TROUBLE_ENDS_S, self._end_trouble)
        while self._loop.time() < self._plan.ends_s:
            await asyncio.sleep(0.9)
            if self._loop.time() > self._undisturbed_s + LATE_MS / 1000:
                self._books.check_lapses(self._clock_ms())
            for task in (*self._callers, *processes):
                if task.done() and not task.cancelled():
                    task.result()
        await asyncio.gather(*(task for number, task in enumerate(processes) if f"p{number}" not in self._dead))

    async def _process(self, name: str) -> None:
        """As `open_sqlite_ledger` puts it together, with callers instead of a service."""
        async with AsyncExitStack() as stack:
            opening = partial(open_connection, make=partial(self._connection, name))
            store = await self._until_open(
                partial(open_store, self._path, "normal", lambda path, _: opening(path)), stack
            )
            store.clocks = self._clocks
            ledger = await self._until_taken(partial(self._join, store))
            stack.push_async_callback(ledger.lease.leave)
            await self._until_taken(partial(ledger.configure_ceilings, CEILINGS))
            await stack.enter_async_context(running(ledger.keep_lease(), name="ledger lease"))
            for number in range(self._plan.callers):
                caller = Caller(f"{name}-{number}", ledger, self._books, self._chance, self._say, self._clock_ms)
                self._callers.append(asyncio.create_task(self._call(caller)))
            # The others leave in good order; the first one sees to what they forgot.
            stays_until_s = self._plan.ends_s + 1 if name == "p0" else CALM_S
            await asyncio.sleep(max(0, stays_until_s - self._loop.time()))

    async def _call(self, caller: Caller) -> None:
        running = asyncio.ensure_future(caller.run())
        if self._chance.random() < self._plan.leave_rate:
            await asyncio.wait([running], timeout=self._chance.uniform(0, 7))
            running.cancel()
            await asyncio.wait([running])
            if running.cancelled():
                await caller.settle_after_leaving()
                return
        await running

    async def _join(self, store: Writer) -> StoreLedger:
        """Under another owner each time, as a process that could not start is started again."""
        ledger = StoreLedger(
            store, Readers(self._path, []), self._new_owner, clock_ms=self._clock_ms, bounds=CacheBounds()
        )
        await ledger.lease.join()
        return ledger

    async def _until_open(self, opening, stack: AsyncExitStack) -> Writer:
        """A process whose disk fails at each of its tries does not start, and is started again."""
        while True:
            try:
                return await stack.enter_async_context(opening())
            except NotALedger:
                if self._loop.time() >= TROUBLE_ENDS_S:
                    raise
                self._say("could not start")

    async def _until_taken(self, write) -> None:
        while True:
            try:
                return await write()
            except LedgerUnavailable:
                await asyncio.sleep(0.3)

    def _spawn(self, name: str, main) -> asyncio.Task:
        context = contextvars.copy_context()
        context.run(PROCESS.set, name)
        return self._loop.create_task(main(name), context=context)

    def _connection(self, name: str, db) -> SimulatedConnection:
        connection = SimulatedConnection(db, self._chance, self._after_work)
        connection.fault_rate = self._plan.fault_rate if self._loop.time() < TROUBLE_ENDS_S else 0.0
        self._connections.setdefault(name, []).append(connection)
        return connection

    def _after_work(self, db: sqlite3.Connection, changes_before: int) -> None:
        if db.total_changes != changes_before:
            self._clock_ms()
            self._books.check_commit(self._latest_ms)

    def _crash(self, name: str) -> None:
        """Its tasks never run again, and the kernel closes its files."""
        self._say(f"{name} is killed")
        self._dead.add(name)
        self._loop.stop_process(name)
        for connection in self._connections.get(name, ()):
            connection.db.close()

    def _stall(self, name: str, for_s: float) -> None:
        if name not in self._dead:
            self._say(f"{name} is stopped for {for_s} s")
            self._loop.stop_process(name)
            self._loop.call_later(for_s, self._wake, name)

    def _wake(self, name: str) -> None:
        if name not in self._dead:
            self._loop.resume_process(name)

    def _jump(self, by_ms: int) -> None:
        self._say(f"the clock jumps by {by_ms} ms")
        self._offset_ms += by_ms
        self._undisturbed_s = self._loop.time()

    def _end_trouble(self) -> None:
        """Disks are sound from now on; a writer may take some seconds to try again."""
        if self._plan.fault_rate:
            self._undisturbed_s = self._loop.time() + REOPEN_DELAYS_S[-1]
        for connection in itertools.chain(*self._connections.values()):
            connection.fault_rate = 0.0

    def _clocks(self) -> Clocks:
        """The processor is busy all the time, or never, or now and then."""
        now_s = self._loop.time()
        return Clocks(now_s, now_s * self._plan.busy if self._plan.busy < 1 else now_s + self._chance.random())

    def _clock_ms(self) -> int:
        now_ms = BEGAN_MS + int(self._loop.time() * 1000) + self._offset_ms
        self._latest_ms = max(self._latest_ms, now_ms)
        return now_ms

    def _new_owner(self) -> Owner:
        number = next(self._numbers)
        return Owner(owner_id=f"own_{number:03}", process=PROCESS.get())

    def _say(self, what: str) -> None:
        self.trace.append(f"{self._loop.time():8.4f} {PROCESS.get()}: {what}")

    def _bury(self) -> None:
        """Let the dead and the stopped come to an end, on files that nobody looks at any more."""
        self._loop.bury()
        self._seen.close()
        for path in self._path.parent.glob(f"{self._path.name}*"):
            path.unlink()
