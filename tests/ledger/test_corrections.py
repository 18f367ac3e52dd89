"""Corrections: absolute amounts as compensating lines, shared out exactly, and the same however often they are made."""

import sqlite3
from contextlib import closing

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.ceilings import DAY_MS, Ceiling
from ledger.corrections import Charged, Correction, NotCorrectable, open_corrector, reconciled, repriced, spread
from ledger.operations.prices import find_price
from ledger.prices import Price, Tier
from ledger.reports import SpendQuery
from ledger.sql import migrations, statements
from ledger.usage import Usage
from ledger.verify import verify_ledger
from tests.ledger.calls import BEGAN_MS, Clock, a_call, a_ledger, a_settlement, admit_and_settle
from tests.ledger.drawn import holds

CEILING = Ceiling(scope="global", window="day", limit=10**9)
DEARER = Price(version="v2", base=Tier(input=500 * 10**6, output=100 * 10**6))


def to_cost(hold_id, cost, *, usage=None):
    return Correction(
        hold_id=hold_id, cost_nanousd=cost, basis="provider_reported", reason="r", price_version="v1", usage=usage
    )


def corrector(home, clock):
    return open_corrector(home.url, clock_ms=clock)


def is_clean(home):
    return verify_ledger(home.url, on_rule=lambda _: None).violations == ()


async def spent(ledger):
    (status,) = await ledger.ceilings()
    report = await ledger.spend(SpendQuery(group_by=("model",)))
    assert report["total"]["cost_nanousd"] == status["spent_nanousd"]
    return status["spent_nanousd"]


async def test_a_correction_is_the_difference_in_its_holds_window_and_hour_and_twice_is_once(home):
    clock = Clock()
    async with a_ledger(home, clock=clock, ceilings=[CEILING]) as ledger:
        request = a_call()
        lead = await ledger.admit(request)
        await ledger.settle(a_settlement(request, lead, cost=400))
        async with corrector(home, clock) as books:
            assert await books.correct([to_cost(lead.hold_id, 700)]) == [2]
            assert await books.correct([to_cost(lead.hold_id, 700)]) == []
            assert await spent(ledger) == 700
            await books.correct([to_cost(lead.hold_id, 0)])
            assert await spent(ledger) == 0
            clock.at_ms += 2 * DAY_MS
            await books.correct([to_cost(lead.hold_id, 50)])
        # Repeated late, the settlement still finds what it settled.
        await ledger.settle(a_settlement(request, lead, cost=400))
        report = await ledger.spend(SpendQuery(group_by=("day",)))
        assert [row["cost_nanousd"] for row in report["rows"]] == [50], "on the day of its hold"
        story = await ledger.generation(request.facts.generation_id)
        assert [line["cost_nanousd"] for line in story["attempts"][0]["postings"]] == [400, 300, -700, 50]
    assert is_clean(home)


async def test_what_makes_no_sense_is_refused_and_nothing_is_written(home):
    clock = Clock()
    async with a_ledger(home, clock=clock, ceilings=[CEILING]) as ledger:
        request, still_open = a_call(), a_call()
        await admit_and_settle(ledger, request, cost=400)
        await ledger.admit(still_open)
        async with corrector(home, clock) as books:
            settled = f"{request.facts.generation_id}.1"
            for hold_id, words in (("gen_nobody.1", "no attempt"), (f"{still_open.facts.generation_id}.1", "not over")):
                with pytest.raises(NotCorrectable, match=words):
                    await books.correct([to_cost(settled, 1), to_cost(hold_id, 5)])
            with pytest.raises(NotCorrectable, match="known"):
                await books.correct([to_cost(settled, 1, usage=Usage(input_tokens=1))])
        assert await spent(ledger) == 400


async def test_a_lapsed_hold_takes_its_tokens_with_its_cost_and_later_usage_leaves_it_so(home):
    clock = Clock()
    async with a_ledger(home, clock=clock, ceilings=[CEILING]) as ledger:
        request = a_call()
        lead = await ledger.admit(request)
        clock.at_ms += 20_000
        async with a_ledger(home, clock=clock, ceilings=[CEILING]) as other:
            await other._sweep()
        async with corrector(home, clock) as books:
            await books.correct([to_cost(lead.hold_id, 123, usage=Usage(input_tokens=10, output_tokens=5))])
            found = await books.find(lead.hold_id)
            assert (found.cost_nanousd, found.basis, found.usage.prompt_tokens) == (123, "provider_reported", 10)
        await ledger.settle(a_settlement(request, lead, cost=999))
        assert await spent(ledger) == 123
        report = await ledger.spend(SpendQuery(group_by=("basis",)))
        assert report["total"]["prompt_tokens"] == 10
    assert is_clean(home)


async def test_charged_attempts_come_in_order_and_whole_in_batches_of_any_size(home):
    clock = Clock()
    async with a_ledger(home, clock=clock) as ledger:
        for number in range(7):
            clock.at_ms += number % 2
            await admit_and_settle(ledger, a_call(now_ms=clock.at_ms), cost=number)
        async with corrector(home, clock) as books:
            span = {"since_ms": 0, "until_ms": clock.at_ms + 1}
            whole = await books.charged(**span)
            assert [it.cost_nanousd for it in whole] == list(range(7))
            paged = []
            while found := await books.charged(**span, after=paged[-1] if paged else None, most=2):
                paged += found
            assert paged == whole


BASES = st.sampled_from(["unknown", "estimated", "priced_usage", "provider_reported"])
ATTEMPTS = st.lists(st.tuples(st.integers(0, 10_000), BASES, st.booleans()), min_size=1, max_size=8)


def attempts_of(drawn):
    return [
        Charged(
            hold_id=f"h{number}",
            deployment="p:m",
            taken_at_ms=BEGAN_MS,
            held_nanousd=1000,
            cost_nanousd=cost,
            basis=basis,
            price_version="v1",
            usage=Usage(input_tokens=3, output_tokens=2) if counted else None,
        )
        for number, (cost, basis, counted) in enumerate(drawn)
    ]


@given(st.integers(-(10**12), 10**12), st.lists(st.integers(0, 10**9), min_size=1, max_size=20))
def test_shares_sum_to_the_amount_and_follow_the_weights(amount, weights):
    shares = spread(amount, weights)
    assert sum(shares) == amount
    parts = weights if any(weights) else [1] * len(weights)
    for share, part in zip(shares, parts, strict=True):
        assert abs(share * sum(parts) - amount * part) < sum(parts)


@given(ATTEMPTS, st.integers(0, 100_000))
def test_reconciled_attempts_come_to_what_the_provider_says_and_the_least_certain_bear_it_first(drawn, theirs):
    attempts = attempts_of(drawn)
    changed = {it.hold_id: it.cost_nanousd for it in reconciled(attempts, theirs, "r")}
    after = [changed.get(it.hold_id, it.cost_nanousd) for it in attempts]
    assert sum(after) == theirs
    assert min(after) >= 0
    touched = {it.basis for it in attempts if it.hold_id in changed}
    if touched & {"priced_usage", "provider_reported"}:
        # An increase is theirs only where nobody is less sure; a decrease, once the less sure are at nothing.
        unsure = [cost for it, cost in zip(attempts, after, strict=True) if it.basis in {"unknown", "estimated"}]
        assert not any(unsure)


@given(ATTEMPTS)
def test_repricing_twice_is_repricing_once_and_leaves_what_nobody_can_price(drawn):
    for attempt in attempts_of(drawn):
        change = repriced(attempt, lambda *_: DEARER)
        assert repriced(attempt, lambda *_: None) is None
        if attempt.usage is None or attempt.basis in {"unknown", "provider_reported"}:
            assert change is None
        elif change is not None:
            whole = DEARER.cost_nanousd(attempt.usage)
            assert change.cost_nanousd == (min(whole, 1000) if attempt.basis == "estimated" else whole)
            again = msgspec.structs.replace(attempt, cost_nanousd=change.cost_nanousd)
            assert repriced(again, lambda *_: DEARER) is None


KINDS = st.sampled_from(["correct", "reprice", "reconcile"])


STEPS = st.lists(st.tuples(KINDS, st.integers(0, 3), st.integers(0, 5000)), max_size=8)


def test_after_any_corrections_lines_and_windows_come_to_the_last_word_and_repeats_are_nothing(home):
    holds(check, home, STEPS, examples={"sqlite": 20, "postgresql": 4})


async def check(home, steps):
    clock = Clock()
    async with a_ledger(home, clock=clock, ceilings=[CEILING]) as ledger:
        costs = {}
        for _ in range(4):
            request = a_call()
            await admit_and_settle(ledger, request, cost=400)
            costs[f"{request.facts.generation_id}.1"] = 400
        async with corrector(home, clock) as books:
            for kind, which, amount in steps:
                attempts = await books.charged(since_ms=0, until_ms=clock.at_ms + 1)
                if kind == "correct":
                    changes = [to_cost(attempts[which].hold_id, amount)]
                elif kind == "reprice":
                    changes = [it for attempt in attempts if (it := repriced(attempt, lambda *_: DEARER))]
                else:
                    changes = reconciled(attempts, amount, "r")
                await books.correct(changes)
                assert await books.correct(changes) == []
                costs |= {it.hold_id: it.cost_nanousd for it in changes}
                assert await spent(ledger) == sum(costs.values())
    assert is_clean(home)


def test_no_statement_reads_more_of_a_table_than_it_needs():
    wanted = {"after_ms": 0, "after_id": "", "until_ms": 1, "most": 1, "hold_id": "h", "generation_id": "g"}
    with closing(sqlite3.connect(":memory:")) as db:
        for _, script in migrations("sqlite"):
            db.executescript(script)
        for name, statement in statements("sqlite", "corrections").items():
            plan = [step[3] for step in db.execute(f"EXPLAIN QUERY PLAN {statement}", wanted)]
            assert not [step for step in plan if step.startswith("SCAN")], name


async def test_what_was_corrected_meanwhile_is_not_repriced_over(home):
    clock = Clock()
    async with a_ledger(home, clock=clock, ceilings=[CEILING]) as ledger, corrector(home, clock) as books:
        lead = await admit_and_settle(ledger, a_call())
        change = repriced(await books.find(lead.hold_id), lambda *_: DEARER)
        await books.correct([to_cost(lead.hold_id, 50)])
        assert await books.correct([change]) == []
        assert await spent(ledger) == 50


async def test_the_price_that_a_correction_names_is_on_record(home):
    clock = Clock()
    async with a_ledger(home, clock=clock) as ledger, corrector(home, clock) as books:
        lead = await admit_and_settle(ledger, a_call())
        await books.correct([repriced(await books.find(lead.hold_id), lambda *_: DEARER)])
    with home.database() as db:
        assert find_price(db, "p:m", "v2") == DEARER


async def test_an_attempt_that_was_given_back_counts_once_it_is_charged_after_all(home):
    clock = Clock()
    async with a_ledger(home, clock=clock, ceilings=[CEILING]) as ledger, corrector(home, clock) as books:
        lead = await admit_and_settle(ledger, a_call(), cost=None, outcome="connect_failed", basis="free")
        span = {"since_ms": BEGAN_MS, "until_ms": BEGAN_MS + 1}
        assert await books.charged(**span) == []
        await books.correct([to_cost(lead.hold_id, 70)])
        assert [attempt.cost_nanousd for attempt in await books.charged(**span)] == [70]
        assert await spent(ledger) == 70
    assert is_clean(home)


async def test_what_was_half_folded_away_is_not_corrected(home):
    clock = Clock()
    async with a_ledger(home, clock=clock) as ledger, corrector(home, clock) as books:
        first = await admit_and_settle(ledger, a_call())
        await books.correct([to_cost(first.hold_id, 50)])
        with home.database() as db:
            db.execute("INSERT INTO closings SELECT seq, chain, 1, cost_nanousd, 1, 1 FROM postings WHERE seq = 1")
            db.execute("DELETE FROM postings WHERE seq = 1")
        with pytest.raises(NotCorrectable, match="folded"):
            await books.correct([to_cost(first.hold_id, 60)])
        assert await books.charged(since_ms=0, until_ms=BEGAN_MS + 1) == []
