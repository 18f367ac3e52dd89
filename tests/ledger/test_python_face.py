"""`open_ledger(url)` for programs: what was spent and how long it took, by model, from one snapshot."""

import pytest

import ledger as face
from ledger import Latency, Spend, open_ledger, open_reports
from ledger.errors import LedgerUnavailable, NotALedger
from ledger.reports import LatencyQuery, SpendQuery
from tests.ledger.calls import BEGAN_MS, a_call, a_ledger, admit_and_settle


async def test_an_empty_ledger_has_nothing_of_any_model(home):
    async with open_ledger(home.url) as ledger, ledger.transaction() as txn:
        assert await txn.get_all_spend() == {}
        assert await txn.get_all_latency() == {}


async def test_it_says_by_model_what_the_reports_say(home):
    async with a_ledger(home) as service:
        await admit_and_settle(service, a_call(deployment="a:m"), cost=400, latency_us=2000)
        await admit_and_settle(service, a_call(deployment="b:n"), cost=70, outcome="upstream_error")
        url = home.url
        for opening in (open_ledger, open_reports):
            async with opening(url) as ledger, ledger.transaction() as txn:
                spend, latency = await txn.get_all_spend(), await txn.get_all_latency()
                later = await txn.get_all_spend(since_ms=BEGAN_MS + 1)
            assert list(spend) == ["a:m", "b:n", "p:m"]
            assert spend["a:m"] == Spend(cost_nanousd=400, attempts=1, prompt_tokens=3, completion_tokens=2)
            assert (spend["b:n"].wasted_nanousd, spend["p:m"].generations) == (70, 2)
            assert isinstance(latency["a:m"], Latency)
            assert (latency["a:m"].count, latency["a:m"].max_ms, latency["b:n"].errors) == (1, 2.0, 1)
            assert later == {}
        report = await service.spend(SpendQuery(group_by=("model",)))
        assert {row["model"]: row["cost_nanousd"] for row in report["rows"]} == {"a:m": 400, "b:n": 70, "p:m": 0}
        report = await service.latency(LatencyQuery(group_by=("model",)))
        assert {row["model"]: row["p50_ms"] for row in report["rows"]} == {
            model: figures.p50_ms for model, figures in latency.items()
        }


async def test_a_transaction_is_one_moment_whatever_is_written_meanwhile(home):
    async with a_ledger(home) as ledger:
        await admit_and_settle(ledger, a_call(deployment="a:m"))
        async with ledger.transaction() as txn:
            await admit_and_settle(ledger, a_call(deployment="b:n"), latency_us=5)
            assert "b:n" not in await txn.get_all_spend()
            assert "b:n" not in await txn.get_all_latency()
        async with ledger.transaction() as txn:
            assert "b:n" in await txn.get_all_spend()


async def test_reading_takes_no_lease_and_makes_no_file(sqlite_home):
    path = sqlite_home.path
    with pytest.raises(NotALedger, match="no ledger"):
        async with open_reports(f"sqlite:{path}"):
            raise AssertionError("it opened")
    assert not path.exists()
    async with a_ledger(sqlite_home) as service:
        async with open_reports(f"sqlite:{path}"):
            owners = await service._readers.read(lambda db: db.execute("SELECT owner_id FROM owners").fetchall())
        assert owners == [(service.owner_id,)]


async def test_a_snapshot_that_is_over_says_so(home, monkeypatch):
    monkeypatch.setattr("ledger.store.transaction.SNAPSHOT_S", 0.0)
    async with a_ledger(home) as ledger, ledger.transaction() as txn:
        with pytest.raises(LedgerUnavailable):
            await read_on(txn)


async def read_on(txn):
    while True:
        await txn.get_all_spend()


def test_its_page_shows_how():
    assert all(name in face.__doc__ for name in ("open_ledger", "get_all_spend", "get_all_latency", "open_reports"))
