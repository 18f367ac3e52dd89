"""Many calls at one time in processes that share a ledger: no oracle, only what must never be lost, at every commit."""

import asyncio
from contextlib import AsyncExitStack, ExitStack

import pytest
from hypothesis import strategies as st
from hypothesis.errors import Flaky
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from ledger.ceilings import Ceiling
from ledger.database import RuleBroken
from ledger.values import Lead
from ledger.verify import verify_ledger
from tests.ledger.calls import Clock, a_call, a_settlement
from tests.properties.inline import a_loop, an_inline_ledger
from tests.properties.lives import lives, run_on, until_one_fails
from tests.properties.planted import CONCURRENT_BUGS, no_turns
from tests.simulation.books import Books

# Each has a connection of its own that writes.
PROCESSES = {"sqlite": 2, "postgresql": 8}
CONNECTIONS = (
    "SELECT COUNT(*) FROM pg_stat_activity WHERE (datname, application_name) = (current_database(), 'farthing')"
)
CEILINGS = tuple(
    Ceiling(scope=scope, window="total", limit=limit)
    for scope, limit in (("global", 12_000), ("user:u1", 9_000), ("provider:p", 15_000))
)
CALLS = st.lists(
    st.tuples(
        st.integers(0, 7),
        st.sampled_from((0, 700, 1_500, 4_000)),
        st.one_of(st.none(), st.sampled_from((0, 10, 50, 100, 130))),
        st.booleans(),
    ),
    min_size=2,
    max_size=16,
)


class ConcurrentMachine(RuleBasedStateMachine):
    """Several processes; what runs next is up to chance, and what every commit left is looked at.

    home: where its ledgers are, one after the other. unguarded: what takes away the schema's guards.
    """

    home = None
    unguarded = ""

    @initialize(seed=st.integers(0, 2**32))
    def begin(self, seed):
        self.home.anew()
        self.ends = ExitStack()
        self.clock, self.loop = Clock(), self.ends.enter_context(a_loop(self.home, seed))
        self.breaches, self.books = [], None
        count = PROCESSES[self.home.engine]
        self.stacks, self.ledgers = [None] * count, [None] * count
        self.start(0)
        db = self.ends.enter_context(self.home.database())
        if self.unguarded:
            db.executescript(self.unguarded)
        self.books = Books(db, windows=len(CEILINGS))
        for number in range(1, count):
            self.start(number)
        if self.home.engine == "postgresql":
            (connections,) = db.execute(CONNECTIONS).fetchone()
            assert connections > count, (
                "each has its own, and so have the books; of the life before some may be there yet"
            )

    def start(self, number):
        opened = an_inline_ledger(self.home, self.clock, after=self.look)
        self.stacks[number] = AsyncExitStack()
        ledger = self.loop.run_until_complete(self.stacks[number].enter_async_context(opened))
        self.loop.run_until_complete(ledger.configure_ceilings(CEILINGS))
        self.ledgers[number] = ledger

    def look(self):
        """Told later: whoever commits is not to blame for what is found."""
        if self.books is None:
            return
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
        ledger = self.ledgers[number % len(self.ledgers)]
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
    def time_passes_and_all_look_after_their_leases(self, by_ms):
        self.clock.at_ms += by_ms

        async def all_of_them():
            upkeep = (
                work
                for ledger in self.ledgers
                for work in (ledger.lease.renew(), ledger._sweep(), ledger.pair_sums().add_up())
            )
            await asyncio.gather(*upkeep)

        self.loop.run_until_complete(all_of_them())

    @rule(number=st.integers(0, 7))
    def one_dies_and_another_comes(self, number):
        number %= len(self.ledgers)
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
            self.ends.close()
        findings = verify_ledger(self.home.url, on_rule=lambda _: None)
        assert self.breaches or findings.violations == ()


LIVES = {"sqlite": lives(20, 15), "postgresql": lives(4, 12)}
MORE_LIVES = {"sqlite": lives(2_000, 30), "postgresql": lives(200, 30)}


@pytest.mark.parametrize("bounds", [LIVES, pytest.param(MORE_LIVES, marks=pytest.mark.soak)], ids=["some", "many"])
def test_lives_of_processes_that_share_a_ledger(home, bounds):
    run_on(home, ConcurrentMachine, bounds[home.engine])


@pytest.mark.parametrize("bug", CONCURRENT_BUGS, ids=lambda bug: bug.__name__)
def test_a_planted_bug_is_caught(sqlite_home, bug):
    class Unguarded(ConcurrentMachine):
        unguarded = CONCURRENT_BUGS[bug]

    with bug(), pytest.raises(AssertionError, match="more than the limit"):
        run_on(sqlite_home, Unguarded, until_one_fails(50, 15))


def test_writers_that_take_no_turns_on_a_server_are_caught(postgres_home):
    with no_turns(postgres_home), pytest.raises((AssertionError, RuleBroken, Flaky)):
        run_on(postgres_home, ConcurrentMachine, until_one_fails(50, 15))
