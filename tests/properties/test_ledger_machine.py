"""A state machine of admissions, settlements, deaths and reopenings against a small independent oracle."""

import asyncio
import shutil
import tempfile
from contextlib import AsyncExitStack
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from ledger.ceilings import Ceiling
from ledger.values import Lead, Refused
from ledger.verify import verify_ledger
from tests.ledger.calls import Clock, a_call, a_ledger, a_settlement

LIMIT = 10_000


class LedgerMachine(RuleBasedStateMachine):
    """The oracle: what is held and what is spent, as two numbers, and who may still settle."""

    @initialize()
    def begin(self):
        self.folder = Path(tempfile.mkdtemp())
        self.runner = asyncio.Runner()
        self.clock = Clock()
        self.ceilings = [Ceiling(scope="global", window="total", limit_nanousd=LIMIT)]
        self.open, self.held, self.spent, self.overrun = [], 0, 0, 0
        self.lost = []
        self.start()

    def start(self):
        self.stack = AsyncExitStack()
        opened = a_ledger(self.folder, clock=self.clock, ceilings=self.ceilings)
        self.ledger = self.runner.run(self.stack.enter_async_context(opened))

    @rule(held=st.integers(0, 4000))
    def admit(self, held):
        request = a_call(held=held, now_ms=self.clock.at_ms)
        outcome = self.runner.run(self.ledger.admit(request))
        fits = held == 0 or self.held + self.spent + held <= LIMIT
        assert isinstance(outcome, Lead) == fits
        if isinstance(outcome, Refused):
            assert outcome.held == (self.spent + held <= LIMIT)
        else:
            self.held += held
            self.open.append((request, outcome, held))

    @precondition(lambda self: self.open)
    @rule(data=st.data(), share=st.integers(0, 130), repeats=st.booleans())
    def settle(self, data, share, repeats):
        request, lead, held = self.open.pop(data.draw(st.integers(0, len(self.open) - 1)))
        cost = held * share // 100
        settlement = a_settlement(request, lead, cost=cost)
        for _ in range(1 + repeats):
            self.runner.run(self.ledger.settle(settlement))
        self.held -= held
        self.spent += cost

    @precondition(lambda self: self.open)
    @rule(data=st.data())
    def release(self, data):
        request, lead, held = self.open.pop(data.draw(st.integers(0, len(self.open) - 1)))
        self.runner.run(self.ledger.settle(a_settlement(request, lead, cost=None, outcome="connect_failed")))
        self.held -= held

    @rule()
    def die_and_come_back(self):
        # The lease is given up with holds open, as a process does that was killed; the next one sweeps.
        self.runner.run(self.stack.aclose())
        self.clock.at_ms += 20_000
        self.start()
        self.runner.run(self.ledger._sweep())
        self.spent += self.held
        self.held = 0
        self.lost, self.open = self.lost + self.open, []

    @precondition(lambda self: self.lost)
    @rule(share=st.integers(0, 100))
    def learn_late(self, share):
        request, lead, held = self.lost.pop()
        cost = held * share // 100
        self.runner.run(self.ledger.settle(a_settlement(request, lead, cost=cost)))
        self.spent += cost - held

    @invariant()
    def the_ledger_says_the_same(self):
        if not hasattr(self, "ledger"):
            return
        (status,) = self.runner.run(self.ledger.ceilings())
        assert (status["held_nanousd"], status["spent_nanousd"]) == (self.held, self.spent)

    def teardown(self):
        if not hasattr(self, "ledger"):
            return
        self.runner.run(self.stack.aclose())
        self.runner.close()
        findings = verify_ledger(f"sqlite:{self.folder / 'farthing.db'}", on_rule=lambda _: None)
        assert findings.violations == ()
        shutil.rmtree(self.folder)


TestLedgerMachine = LedgerMachine.TestCase
TestLedgerMachine.settings = settings(max_examples=25, stateful_step_count=30, deadline=None)
