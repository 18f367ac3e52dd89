"""Many calls at one time in two processes on one file: no oracle, only what must never be lost, after every commit."""

import asyncio
import random
import shutil
import sqlite3
import tempfile
from contextlib import AsyncExitStack, closing
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, Verbosity, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from ledger.ceilings import Ceiling
from ledger.sqlite.migrate import migrate
from ledger.values import Lead
from ledger.verify import verify_ledger
from tests.ledger.calls import Clock, a_call, a_settlement
from tests.properties.inline import an_inline_ledger
from tests.properties.planted import CONCURRENT_BUGS
from tests.simulation.books import Books
from tests.simulation.loop import SimulatedLoop

CEILINGS = tuple(
    Ceiling(scope=scope, window="total", limit=limit)
    for scope, limit in (("global", 12_000), ("user:u1", 9_000), ("provider:p", 15_000))
)
CALLS = st.lists(
    st.tuples(
        st.integers(0, 1),
        st.sampled_from((0, 700, 1_500, 4_000)),
        st.one_of(st.none(), st.sampled_from((0, 10, 50, 100, 130))),
        st.booleans(),
    ),
    min_size=2,
    max_size=16,
)


class ConcurrentMachine(RuleBasedStateMachine):
    """Two processes; what runs next is up to chance, and every commit is looked at."""

    unguarded = ""

    @initialize(seed=st.integers(0, 2**32))
    def begin(self, seed):
        self.folder = Path(tempfile.mkdtemp())
        self.path = self.folder / "farthing.db"
        with closing(sqlite3.connect(self.path, isolation_level=None)) as db:
            db.execute("PRAGMA journal_mode = WAL")
            migrate(db)
            db.executescript(self.unguarded)
        self.clock, self.loop = Clock(), SimulatedLoop(random.Random(seed))
        self.books = Books(self.path, windows=len(CEILINGS))
        self.breaches = []
        self.stacks, self.ledgers = [None, None], [None, None]
        for number in range(2):
            self.start(number)

    def start(self, number):
        opened = an_inline_ledger(self.path, self.clock, after=self.look)
        self.stacks[number] = AsyncExitStack()
        ledger = self.loop.run_until_complete(self.stacks[number].enter_async_context(opened))
        self.loop.run_until_complete(ledger.configure_ceilings(CEILINGS))
        self.ledgers[number] = ledger

    def look(self, db):
        """Told later: whoever commits is not to blame for what is found."""
        try:
            self.books.check_commit(self.clock.at_ms)
        except AssertionError as breach:
            self.breaches.append(breach)

    @invariant()
    def no_commit_lost_anything(self):
        if hasattr(self, "breaches") and self.breaches:
            raise self.breaches[0]

    @rule(calls=CALLS)
    def calls_at_one_time(self, calls):
        async def all_of_them():
            await asyncio.gather(*(self.call(*call) for call in calls))

        self.loop.run_until_complete(all_of_them())

    async def call(self, number, held, share, forgets):
        ledger = self.ledgers[number]
        request = a_call(held=held, now_ms=self.clock.at_ms)
        lead = await ledger.admit(request)
        if not isinstance(lead, Lead) or (forgets and held > 1_000):
            return
        self.books.was_told_held(lead.hold_id, held)
        cost = None if share is None else held * share // 100
        outcome = "aborted" if cost is None else "ok"
        await ledger.settle(a_settlement(request, lead, cost=cost, outcome=outcome))
        self.books.was_told_charged(lead.hold_id, cost or 0)

    @rule(by_ms=st.sampled_from((-20_000, 4_000, 16_000)))
    def time_passes_and_both_look_after_their_leases(self, by_ms):
        self.clock.at_ms += by_ms

        async def both():
            await asyncio.gather(*(work for ledger in self.ledgers for work in (ledger._renew(), ledger._sweep())))

        self.loop.run_until_complete(both())

    @rule(number=st.integers(0, 1))
    def one_dies_and_another_comes(self, number):
        self.loop.run_until_complete(self.stacks[number].aclose())
        self.start(number)

    def teardown(self):
        if not hasattr(self, "stacks"):
            return
        try:
            self.books.check_promises()
            for stack in self.stacks:
                self.loop.run_until_complete(stack.aclose())
        finally:
            self.loop.bury()
            self.books.close()
        findings = verify_ledger(f"sqlite:{self.path}", on_rule=lambda _: None)
        shutil.rmtree(self.folder)
        assert self.breaches or findings.violations == ()


TestConcurrentMachine = ConcurrentMachine.TestCase
TestConcurrentMachine.settings = settings(
    max_examples=20, stateful_step_count=15, deadline=None, report_multiple_bugs=False
)


@pytest.mark.soak
def test_many_more_lives_of_two_processes():
    run_state_machine_as_test(
        ConcurrentMachine, settings=settings(max_examples=2_000, stateful_step_count=30, deadline=None)
    )


@pytest.mark.parametrize("bug", CONCURRENT_BUGS, ids=lambda bug: bug.__name__)
def test_a_planted_bug_is_caught(bug):
    class Unguarded(ConcurrentMachine):
        unguarded = CONCURRENT_BUGS[bug]

    bounded = settings(
        max_examples=50,
        stateful_step_count=15,
        derandomize=True,
        database=None,
        deadline=None,
        phases=(Phase.generate,),
        verbosity=Verbosity.quiet,
        suppress_health_check=list(HealthCheck),
    )
    with bug(), pytest.raises(AssertionError, match="more than the limit"):
        run_state_machine_as_test(Unguarded, settings=bounded)
