"""Behind a pooler that lends connections by transactions: nothing is left on one, and nothing is expected there."""

import asyncio
import inspect
from contextlib import AsyncExitStack

import pytest

from ledger.ceilings import Ceiling
from ledger.ledger import check_ledger, open_ledger, open_reports
from ledger.reports import SpendQuery
from ledger.values import Hit, Lead
from ledger.verify import verify_ledger
from tests.ledger import test_admission, test_ceilings, test_hits, test_idempotency
from tests.ledger.calls import a_call, a_ledger, a_settlement, admit_and_settle
from tests.ledger.homes import PostgresHome
from tests.pgbouncer import a_pooler

SHORT_FORM = {
    name: test
    for module in (test_admission, test_ceilings, test_hits, test_idempotency)
    for name, test in vars(module).items()
    if name.startswith("test_")
    and inspect.iscoroutinefunction(test)
    and [*inspect.signature(test).parameters] == ["home"]
}


class PooledHome(PostgresHome):
    """A database that ledgers reach through the pooler, and tests by themselves."""

    def __init__(self, home, pooler):
        super().__init__(home.server, home.name)
        self.direct = home
        self.url = pooler.url(home.name)

    def database(self, *, ruled=True):
        return self.direct.database(ruled=ruled)


@pytest.mark.parametrize("name", SHORT_FORM)
async def test_the_ledger_is_what_it_is_without_one(name, postgres_home):
    async with a_pooler(postgres_home.server) as pooler:
        await SHORT_FORM[name](PooledHome(postgres_home, pooler))


async def test_many_replicas_share_fewer_connections_than_they_have(postgres_home):
    """Each has three, and the pooler two: whatever one leaves on a connection, another one finds there."""
    async with a_pooler(postgres_home.server, connections=2) as pooler:
        home = PooledHome(postgres_home, pooler)
        limit = Ceiling(scope="global", window="total", limit=6000)
        async with AsyncExitStack() as stack:
            opening = (stack.enter_async_context(a_ledger(home, ceilings=[limit])) for _ in range(6))
            ledgers = await asyncio.gather(*opening)

            async def calls(ledger, number):
                for turn in range(5):
                    request = a_call(held=100, key=f"{number} {turn}")
                    lead = await ledger.admit(request)
                    assert isinstance(lead, Lead)
                    await ledger.settle(a_settlement(request, lead, cost=100))
                    assert isinstance(await ledger.admit(a_call(key=f"{number} {turn}")), Hit)
                    assert (await ledger.figures()).drift == 0
                    await asyncio.to_thread(check_ledger, home.url)

            await asyncio.gather(*(calls(ledger, number) for number, ledger in enumerate(ledgers)))
            (status,) = await ledgers[0].ceiling_statuses()
            assert (status.spent, status.held) == (3000, 0)
            async with open_reports(home.url) as reports:
                assert (await reports.spend(SpendQuery()))["total"]["cache_hits"] == 30
        findings = await asyncio.to_thread(verify_ledger, home.url, on_rule=str)
    assert findings.violations == ()


async def test_a_new_ledger_is_made_through_it(postgres_home):
    empty = PostgresHome(postgres_home.server, postgres_home.server.empty_database())
    async with a_pooler(postgres_home.server) as pooler, open_ledger(pooler.url(empty.name)) as ledger:
        await admit_and_settle(ledger, a_call())
