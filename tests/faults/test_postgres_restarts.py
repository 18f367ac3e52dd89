"""PostgreSQL is restarted as after a crash while calls go on: nothing acknowledged is lost or doubled."""

import asyncio
import itertools
import time
from collections import Counter

import pytest

from ledger.ceilings import Ceiling
from ledger.errors import LedgerUnavailable
from ledger.values import Lead
from ledger.verify import verify_ledger
from tests.ledger.calls import a_call, a_ledger, a_settlement
from tests.ledger.homes import PostgresHome
from tests.postgres import a_server
from tests.processes import farthing_serve, one_route
from tests.upstream import answer, scripted_upstream

CALLERS = 16
COST = 70


class Load:
    """Callers that go on until told to stop.

    learned_s: how long it took to learn what became of each unknown write, from when the server was there to be asked.
    """

    def __init__(self, ledger):
        self.ledger = ledger
        self.admitted, self.settled = set(), set()
        self.learned_s = []
        self.back_s = 0.0
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
                self.learned_s.append(time.monotonic() - max(began_s, self.back_s))
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
                load.back_s = time.monotonic()
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
    assert max(load.learned_s, default=0.0) < 2.0


class Callers:
    """Of a service, until told to stop. told: (status, code, whether it says when to come back) of each answer."""

    def __init__(self, service):
        self.service = service
        self.told, self.answered = Counter(), {}
        self.stops = False
        self._numbers = itertools.count()

    async def call(self):
        while not self.stops:
            body = {"model": "chat", "prompt": f"prompt {next(self._numbers)}", "params": {"max_tokens": 20}}
            async with self.service.http.post(f"{self.service.url}/generate", json=body) as response:
                whole = await response.json()
                self.told[response.status, whole.get("code"), "retry-after" in response.headers] += 1
            if response.status == 200:
                self.answered[whole["id"]] = whole["cost_nanousd"]
            else:
                await asyncio.sleep(0.05)

    async def go_on(self):
        """Wait until some more were answered."""
        wanted = len(self.answered) + CALLERS
        async with asyncio.timeout(60):
            while len(self.answered) < wanted:
                await asyncio.sleep(0.02)


@pytest.mark.parametrize("restarts", [1, pytest.param(8, marks=pytest.mark.soak)])
async def test_callers_are_told_to_come_back_and_nothing_else(tmp_path, restarts):
    with a_server("-restarted", unsafe=False) as server:
        home = PostgresHome(server, await asyncio.to_thread(server.empty_database), tmp_path)
        async with scripted_upstream() as upstream:
            upstream.default = answer("all well", prompt_tokens=3, completion_tokens=2, delay_s=0.005)
            config = one_route(upstream.url, more=home.config, limit_usd="1000")
            async with farthing_serve(tmp_path, config=config, environ=home.environ) as service:
                callers = Callers(service)
                calling = [asyncio.create_task(callers.call()) for _ in range(CALLERS)]
                for _ in range(restarts):
                    await callers.go_on()
                    await asyncio.to_thread(server.restart_at_once)
                await callers.go_on()
                callers.stops = True
                await asyncio.gather(*calling)
                service.terminate()
                assert await service.ended() == 0
        assert set(callers.told) <= {(200, None, False), (503, "ledger_unavailable", True)}, callers.told
        posted = home.rows(
            "SELECT generation_id, SUM(cost_nanousd) FROM postings JOIN holds USING (hold_id) GROUP BY 1"
        )
        assert callers.answered.items() <= dict(posted).items()
        assert len(posted) <= len(upstream.requests)
        findings = await asyncio.to_thread(verify_ledger, home.url, on_rule=str)
    assert findings.violations == ()
