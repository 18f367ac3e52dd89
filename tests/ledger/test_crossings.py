"""Ceilings warn: once for each line that spending crosses, whatever moves it, in the transaction that does."""

import re
import sqlite3
from contextlib import closing

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.ceilings import Ceiling
from ledger.corrections import Correction, open_corrector
from ledger.events import EventsQuery
from ledger.money import NANOUSD_PER_USD
from ledger.operations.admit import admit
from ledger.operations.ceilings import CeilingsInForce, configure_ceilings
from ledger.operations.events import events_report
from ledger.operations.owners import Owner, register
from ledger.operations.settle import settle
from ledger.reports import iso
from ledger.sqlite.migrate import migrate
from ledger.sqlite.verify import RULES
from ledger.thresholds import crossed, line_of, next_line
from ledger.usage import Usage
from ledger.values import Bid, CacheBounds, Lead, Refused
from ledger.verify import verify_ledger
from tests.ledger.calls import BEGAN_MS, Clock, a_call, a_ledger, a_settlement, admit_and_settle
from tests.ledger.test_apikeys import a_call_with, a_key

DAY = Ceiling(scope="global", window="day", limit=1000)
CEILING_EVENTS = ("ceiling.threshold", "ceiling.exceeded")
SHARES = st.lists(st.sampled_from((0.1, 0.333, 0.5, 0.8, 0.95, 1.0)), max_size=4).map(tuple)


async def told(ledger):
    """(type, scope, threshold, spent) of each event, the oldest first."""
    shown = (await ledger.events(EventsQuery(limit=1000)))["alerts"]
    return [
        (alert["type"], it["scope"], it["threshold"], it.get("spent_nanousd", it.get("spent")))
        for alert in reversed(shown)
        for it in [alert["facts"]]
    ]


def sound(home):
    return verify_ledger(home.url, on_rule=str).violations == ()


async def test_each_line_is_told_by_the_settlement_that_crosses_it(home):
    async with a_ledger(home, ceilings=[DAY]) as ledger:
        for cost in (799, 0, 1):
            await admit_and_settle(ledger, a_call(held=cost), cost=cost)
        assert await told(ledger) == [("ceiling.threshold", "global", 0.8, 800)]
        await admit_and_settle(ledger, a_call(held=100), cost=100)
        await admit_and_settle(ledger, a_call(held=100), cost=100)
        (exceeded, _) = (await ledger.events(EventsQuery()))["alerts"]
    assert exceeded["type"] == "ceiling.exceeded"
    assert exceeded["facts"] == {
        "scope": "global",
        "window": "day",
        "unit": "usd",
        "threshold": 1.0,
        "limit_usd": "0.000001000",
        "limit_nanousd": 1000,
        "spent_usd": "0.000001000",
        "spent_nanousd": 1000,
        "held_usd": "0.000000000",
        "held_nanousd": 0,
        "window_starts_at": iso(BEGAN_MS - BEGAN_MS % 86_400_000),
        "window_ends_at": iso(BEGAN_MS - BEGAN_MS % 86_400_000 + 86_400_000),
    }
    assert sound(home)


async def test_what_is_held_crosses_nothing_and_one_settlement_may_cross_all_lines_of_all_its_ceilings(home):
    everyone = Ceiling(scope="user:*", window="month", limit=2000, warn_at=(0.5, 0.25))
    async with a_ledger(home, ceilings=[DAY, everyone]) as ledger:
        lead = await ledger.admit(request := a_call(held=1000))
        assert await told(ledger) == []
        await ledger.settle(a_settlement(request, lead, cost=1000))
        await ledger.settle(a_settlement(request, lead, cost=1000))
        assert sorted(await told(ledger)) == [
            ("ceiling.exceeded", "global", 1.0, 1000),
            ("ceiling.threshold", "global", 0.8, 1000),
            ("ceiling.threshold", "user:u1", 0.25, 1000),
            ("ceiling.threshold", "user:u1", 0.5, 1000),
        ]


async def test_lapses_corrections_and_late_usage_cross_lines_too(home):
    clock = Clock()
    url = home.url
    ceilings = [
        Ceiling(scope=f"model:p:{name}", window="total", limit=1000) for name in ("lapsed", "corrected", "late")
    ]
    async with (
        a_ledger(home, clock=clock, ceilings=ceilings) as ledger,
        open_corrector(url, clock_ms=clock) as books,
    ):
        first = await admit_and_settle(ledger, a_call(deployment="p:corrected"))
        await ledger.admit(a_call(held=900, deployment="p:lapsed"))
        late = await ledger.admit(request := a_call(held=10, deployment="p:late"))
        change = {"basis": "provider_reported", "reason": "said so", "price_version": "v1"}
        for cost in (900, 100, 900):
            await books.correct([Correction(hold_id=first.hold_id, cost_nanousd=cost, **change)])
        assert await told(ledger) == [("ceiling.threshold", "model:p:corrected", 0.8, 900)]
        clock.at_ms += 60_000
        await ledger._sweep()
        await ledger.settle(a_settlement(request, late, cost=950))
        assert (await told(ledger))[1:] == [
            ("ceiling.threshold", "model:p:lapsed", 0.8, 900),
            ("ceiling.threshold", "model:p:late", 0.8, 950),
        ]
        alerts = (await ledger.events(EventsQuery()))["alerts"]
        assert [alert["at"] for alert in alerts] == [iso(BEGAN_MS), iso(clock.at_ms), iso(BEGAN_MS)]
    assert sound(home)


async def test_a_call_refused_for_what_is_spent_says_that_the_ceiling_is_exceeded_once(home):
    async with a_ledger(home, ceilings=[DAY]) as ledger:
        await admit_and_settle(ledger, a_call(held=700), cost=700)
        assert isinstance(await ledger.admit(a_call(held=2000)), Refused)
        assert await told(ledger) == [], "it would fit into no window"
        lead = await ledger.admit(request := a_call(held=300))
        assert isinstance(await ledger.admit(a_call(held=200)), Refused)
        assert await told(ledger) == [], "it fits once what is held is settled"
        await ledger.settle(a_settlement(request, lead, cost=50))
        for _ in range(3):
            assert isinstance(await ledger.admit(a_call(held=500)), Refused)
        assert await told(ledger) == [("ceiling.exceeded", "global", 1.0, 750)]
        await admit_and_settle(ledger, a_call(held=250), cost=250)
        assert [it[2] for it in await told(ledger)] == [1.0, 0.8]


async def test_other_units_warn_in_what_they_count_and_rates_only_if_asked(home):
    rate = Ceiling(scope="global", window="minute", unit="calls", limit=2)
    ceilings = [
        rate,
        Ceiling(scope="user:u1", window="minute", unit="calls", limit=10, warn_at=(0.1,)),
        Ceiling(scope="global", window="hour", unit="tokens", limit=100, warn_at=(0.05, 0.5)),
    ]
    async with a_ledger(home, ceilings=ceilings) as ledger:
        bids = (Bid(deployment="p:m", held_nanousd=9, price_version="v1", held_tokens=40),)
        for _ in range(2):
            await admit_and_settle(ledger, a_call(bids=bids), cost=9, usage=Usage(input_tokens=4))
        assert isinstance(await ledger.admit(a_call(bids=bids)), Refused)
        assert await told(ledger) == [
            ("ceiling.threshold", "user:u1", 0.1, 1),
            ("ceiling.threshold", "global", 0.05, 8),
        ]


async def test_limits_that_change_are_crossed_anew_and_restarts_are_not(home):
    def limit(nanousd, **more):
        return (Ceiling(scope="global", window="day", limit=nanousd, **more),)

    async with a_ledger(home, ceilings=limit(1000)) as ledger:
        await admit_and_settle(ledger, a_call(held=850), cost=850)
        seen = [("ceiling.threshold", "global", 0.8, 850)]
        for same in (limit(1000), limit(1000), limit(900), limit(1000, warn_at=(0.5, 0.8, 1.0))):
            await ledger.configure_ceilings(same)
            assert await told(ledger) == seen, "nothing was crossed: it was beyond the line before"
        await ledger.configure_ceilings(limit(850))
        seen += [("ceiling.exceeded", "global", 1.0, 850)]
        assert await told(ledger) == seen
        await ledger.configure_ceilings(limit(2000))
        assert await told(ledger) == seen
        await admit_and_settle(ledger, a_call(held=750), cost=750)
        assert await told(ledger) == [*seen, ("ceiling.threshold", "global", 0.8, 1600)]
        # Out of force it says nothing; back in force, what it missed.
        late = await ledger.admit(request := a_call(held=400))
        await ledger.configure_ceilings(())
        await ledger.settle(a_settlement(request, late, cost=400))
        await admit_and_settle(ledger, a_call(held=100), cost=100)
        assert len(await told(ledger)) == 3
        await ledger.configure_ceilings(limit(2000))
        assert (await told(ledger))[3:] == [("ceiling.exceeded", "global", 1.0, 2100)]
    assert sound(home)


async def test_a_keys_ceiling_says_whose_it_is(home):
    async with a_ledger(home) as ledger:
        await ledger.create_api_key(a_key("k1", ceilings=[("day", 1000)]))
        await admit_and_settle(ledger, a_call_with("k1", held=800), cost=800)
        (alert,) = (await ledger.events(EventsQuery()))["alerts"]
        assert (alert["facts"]["scope"], alert["facts"]["key_name"]) == ("key:k1", "a name")


async def test_a_ceiling_that_is_new_tells_what_its_window_has_seen_already(home):
    async with a_ledger(home) as ledger:
        await admit_and_settle(ledger, a_call(held=900), cost=900)
        await ledger.configure_ceilings((DAY, Ceiling(scope="user:*", window="month", limit=900)))
        assert sorted(await told(ledger)) == [
            ("ceiling.exceeded", "user:u1", 1.0, 900),
            ("ceiling.threshold", "global", 0.8, 900),
            ("ceiling.threshold", "user:u1", 0.8, 900),
        ]


async def test_the_settle_path_asks_nothing_more_where_no_line_is_crossed(tmp_path):
    asked = []
    for shares in ((), None):
        folder = tmp_path / f"{shares}"
        folder.mkdir()
        async with a_ledger(folder, ceilings=[msgspec.structs.replace(DAY, warn_at=shares)]) as ledger:
            lead = await ledger.admit(request := a_call(held=100))
            statements = []
            await ledger._store.write(lambda db, told=statements.append: db.set_trace_callback(told))
            await ledger.settle(a_settlement(request, lead, cost=100))
        asked.append([re.sub(r"x?'[^']*'|\d+", "?", it) for it in statements])
    assert asked[0] == asked[1], "with lines to look out for it asks what it asks without any"
    assert len(asked[0]) > len(["BEGIN", "COMMIT"])


@pytest.fixture(scope="module")
def empty():
    """A ledger without a line, to copy."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as db:
        migrate(db)
        yield db


@given(
    shares=SHARES,
    moves=st.lists(st.tuples(st.sampled_from(("spend", "spend", "limit")), st.integers(0, 700)), max_size=12),
)
@settings(max_examples=60)
def test_what_is_told_is_what_an_observer_would_have_seen(empty, shares, moves):
    """An observer with the whole history: a line is crossed when it was not reached a moment ago, and now is."""
    limit, spent, seen = 1000, 0, set()

    def configure(db):
        ceiling = Ceiling(scope="global", window="day", limit=limit, warn_at=shares)
        configure_ceilings(db, (ceiling,), now_ms=BEGAN_MS)

    with closing(sqlite3.connect(":memory:", isolation_level=None)) as db:
        empty.backup(db)
        register(db, Owner(owner_id="own", process="here"), now_ms=BEGAN_MS, lease_ms=1)
        configure(db)
        in_force = CeilingsInForce()
        for kind, amount in moves:
            before = {share for share in shares if line_of(limit, share) <= spent}
            if kind == "limit":
                limit = amount * 3
                configure(db)
            else:
                lead = admit(db, request := a_call(held=amount), owner_id="own", ceilings=in_force.now(db))
                if isinstance(lead, Lead):
                    # Twice as much as was held, at times: nothing keeps a provider from it.
                    spent += (cost := amount * 2 if amount % 3 == 0 else amount)
                    settle(db, a_settlement(request, lead, cost=cost), bounds=CacheBounds())
                elif not lead.held and amount <= limit and spent and 1.0 in shares:
                    seen.add((1.0, limit))
            seen.update((share, limit) for share in shares if share not in before and line_of(limit, share) <= spent)
            assert db.execute(RULES["alerts: whoever crossed a line was told of it"]).fetchall() == []
        shown = events_report(db, query=EventsQuery(types=CEILING_EVENTS))["alerts"]
    told = [(alert["facts"]["threshold"], alert["facts"]["limit_nanousd"]) for alert in shown]
    assert sorted(told) == sorted(seen)


@given(SHARES, st.integers(0, 10**6), st.integers(0, 2 * 10**6), st.integers(0, 2 * 10**6))
@settings(max_examples=100)
def test_lines_are_exact_and_the_next_one_is_the_least_that_is_not_crossed(shares, limit, one, other):
    before, after = sorted((one, other))
    found = crossed(shares, limit, before=before, after=after)
    per_mille = {share: round(share * 1000) for share in shares}
    for share in shares:
        line = line_of(limit, share)
        assert (line - 1) * 1000 < max(1, limit * per_mille[share]) <= line * 1000 or line == 1
        assert (share in found) == (before < line <= after)
    following = next_line(shares, limit, after)
    assert following == min((line_of(limit, it) for it in shares if line_of(limit, it) > after), default=None)


def test_an_amount_is_a_share_as_people_write_it():
    assert line_of(10 * NANOUSD_PER_USD, 0.8) == 8 * NANOUSD_PER_USD
    assert line_of(3, 0.333) == 1
    assert line_of(0, 1.0) == 1
