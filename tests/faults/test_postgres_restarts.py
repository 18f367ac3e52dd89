"""PostgreSQL is restarted as after a crash while calls go on: nothing acknowledged is lost or doubled."""

import asyncio
import time

import pytest

from ledger.ceilings import Ceiling
from ledger.errors import LedgerUnavailable
from ledger.values import Lead
from ledger.verify import verify_ledger
from tests.ledger.calls import a_call, a_ledger, a_settlement
from tests.ledger.homes import PostgresHome
from tests.postgres import a_server

CALLERS = 16
COST = 70


class Load:
    """Callers that go on until told to stop. unknown_s: how long it took to learn what became of each unknown write."""

    def __init__(self, ledger):
        self.ledger = ledger
        self.admitted, self.settled = set(), set()
        self.unknown_s = []
        self.stops = False

    async def call(self):
        request = a_call(held=100)
        while not self.stops:
            try:
                lead = await self.ledger.admit(request)
            except LedgerUnavailable as refused:
                lead = await self._learn(request) if refused.unknown else await asyncio.sleep(0.05)
            if lead is not None:
                assert isinstance(lead, Lead)
                self.admitted.add(lead.hold_id)
                await self._settle(request, lead)
                request = a_call(held=100)

    async def _learn(self, request):
        began_s = time.monotonic()
        while True:
            try:
                lead = await self.ledger.lead_of(request)
            except LedgerUnavailable:
                await asyncio.sleep(0.05)
            else:
                self.unknown_s.append(time.monotonic() - began_s)
                return lead

    async def _settle(self, request, lead):
        while True:
            try:
                await self.ledger.settle(a_settlement(request, lead, cost=COST))
            except LedgerUnavailable:
                await asyncio.sleep(0.05)
            else:
                self.settled.add(lead.hold_id)
                return

    async def goes_on(self):
        """Wait until it has settled some more."""
        wanted = len(self.settled) + 2 * CALLERS
        while len(self.settled) < wanted:
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("restarts", [2, pytest.param(8, marks=pytest.mark.soak)])
async def test_nothing_acknowledged_is_lost_or_doubled(restarts):
    with a_server("-restarted", unsafe=False) as server:
        home = PostgresHome(server, await asyncio.to_thread(server.empty_database))
        async with a_ledger(home, ceilings=[Ceiling(scope="global", window="month", limit=10**9)]) as ledger:
            load = Load(ledger)
            callers = [asyncio.create_task(load.call()) for _ in range(CALLERS)]
            for _ in range(restarts):
                await load.goes_on()
                await asyncio.to_thread(server.restart_at_once)
            await load.goes_on()
            load.stops = True
            await asyncio.gather(*callers)
            assert ledger.is_ready, "it recovered by itself"
            (status,) = await ledger.ceiling_statuses()
        with home.database() as db:
            held = {hold_id for (hold_id,) in db.execute("SELECT hold_id FROM holds").fetchall()}
            posted = [hold_id for (hold_id,) in db.execute("SELECT hold_id FROM postings").fetchall()]
        findings = await asyncio.to_thread(verify_ledger, home.url, on_rule=str)
    assert load.admitted <= held
    assert sorted(posted) == sorted(load.settled), "each once"
    assert (status.spent, status.held) == (COST * len(posted), 100 * (len(held) - len(posted)))
    assert findings.violations == ()
    assert max(load.unknown_s, default=0.0) < 2.0 + restarts
