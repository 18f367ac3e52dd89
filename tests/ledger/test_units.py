"""Ceilings in tokens and in calls: held, spent, given back, folded and proved as money is, each in its own unit."""

import sqlite3
from contextlib import closing

import msgspec
import pytest

from ledger.ceilings import DAY_MS, HOUR_MS, MINUTE_MS, Ceiling, window_span
from ledger.corrections import Correction, open_corrector
from ledger.errors import CeilingExceeded, CeilingHeld, RateLimited
from ledger.operations.lines import TOKENS
from ledger.sql import migrations
from ledger.sqlite.migrate import run_script
from ledger.upkeep import prune_ledger
from ledger.usage import Usage
from ledger.values import Bid, Lead, NextAttempt, Refused, Settlement
from ledger.verify import verify_ledger
from tests.ledger.calls import (
    BEGAN_MS,
    Clock,
    a_call,
    a_ledger,
    a_result,
    a_settlement,
    admit_and_settle,
    an_ending,
)

LEASE_OVER_MS = 16_000
USED = Usage(input_tokens=30, cached_tokens=5, output_tokens=20, reasoning_tokens=5)


def tokens(limit, scope="global", window="minute", **more):
    return Ceiling(scope=scope, window=window, unit="tokens", limit=limit, **more)


def calls(limit, scope="global", window="minute", **more):
    return Ceiling(scope=scope, window=window, unit="calls", limit=limit, **more)


def dollars(limit, scope="global", window="minute", **more):
    return Ceiling(scope=scope, window=window, limit=limit, **more)


def bid(deployment="p:m", *, held=1000, tokens=100):
    return Bid(deployment=deployment, held_nanousd=held, held_tokens=tokens, price_version="v1")


def call(*bids, now_ms=BEGAN_MS, **more):
    return a_call(bids=bids or (bid(),), now_ms=now_ms, **more)


async def counts(ledger):
    """{(scope, unit): (spent, held)}."""
    return {
        (it["scope"], it["unit"]): tuple(
            it[f"{name}_nanousd" if it["unit"] == "usd" else name] for name in ("spent", "held")
        )
        for it in await ledger.ceilings()
    }


def violations(home):
    return {it.rule for it in verify_ledger(home.url, on_rule=str).violations}


def test_a_ceiling_counts_calls_where_callers_make_them_and_attempts_where_providers_see_them():
    scopes = ("global", "key:k", "team:*", "run:r", "provider:p", "model:p:m", "model:*")
    assert [calls(1, scope).counts for scope in scopes] == ["calls"] * 4 + ["attempts"] * 3
    assert (tokens(1).counts, dollars(1).counts) == ("tokens", "nanousd")
    assert [it.id for it in (dollars(1), tokens(1), calls(1))] == [
        "minute global",
        "tokens/minute global",
        "calls/minute global",
    ]


async def test_a_hold_takes_of_each_unit_what_it_asks_and_settles_for_what_was_used(home):
    limits = [dollars(5000), tokens(1000), calls(10), calls(10, "model:p:m")]
    async with a_ledger(home, ceilings=limits) as ledger:
        request = call()
        lead = await ledger.admit(request)
        held = {("global", "usd"): 1000, ("global", "tokens"): 100, ("global", "calls"): 1, ("model:p:m", "calls"): 1}
        assert await counts(ledger) == {place: (0, amount) for place, amount in held.items()}
        await ledger.settle(a_settlement(request, lead, cost=400, usage=USED))
        spent = held | {("global", "usd"): 400, ("global", "tokens"): 60}
        assert await counts(ledger) == {place: (amount, 0) for place, amount in spent.items()}
    assert violations(home) == set()


async def test_what_nobody_counted_is_the_whole_hold_and_what_was_counted_above_it_is_taken_as_it_is(home):
    async with a_ledger(home, ceilings=[tokens(200)]) as ledger:
        for usage, spent in ((None, 100), (Usage(input_tokens=140), 240)):
            request = call()
            lead = await ledger.admit(request)
            result = msgspec.structs.replace(a_result(lead), usage=usage)
            await ledger.settle(Settlement(attempts=(result,), ending=an_ending(request)))
            assert await counts(ledger) == {("global", "tokens"): (spent, 0)}
        refused = await ledger.admit(call())
        assert (refused.tight.spent, refused.tight.limit, refused.held) == (240, 200, False)
    assert violations(home) == set()


async def test_over_a_rate_the_refusal_has_its_unit_and_its_windows_end(home):
    clock = Clock()
    async with a_ledger(home, clock=clock, ceilings=[tokens(250, "user:*"), calls(3)]) as ledger:
        for _ in range(2):
            assert isinstance(await ledger.admit(call()), Lead)
        refused = await ledger.admit(call())
        assert isinstance(refused.error, RateLimited)
        assert refused.held, "both may settle for less"
        told = refused.tight
        assert (told.scope, told.window, told.unit, told.limit) == ("user:u1", "minute", "tokens", 250)
        assert (told.spent, told.held, told.asked) == (0, 200, 100)
        assert told.window_ends_at_ms == window_span("minute", BEGAN_MS).ends_at_ms
        assert isinstance(await ledger.admit(call(bid(tokens=50))), Lead)
        refused = await ledger.admit(call(bid(tokens=0)))
        assert (refused.tight.unit, refused.tight.asked) == ("calls", 1)
        assert not refused.held, "a call that is under way stays one"
        clock.at_ms += MINUTE_MS
        assert isinstance(await ledger.admit(call(now_ms=clock.at_ms)), Lead)
        assert (await ledger.admit(call(bid(tokens=251), now_ms=clock.at_ms))).tight.can_never_fit
    with home.database() as db:
        assert db.execute("SELECT code, count FROM refusals").fetchall() == [("rate_limited", 3)]


async def test_of_several_units_that_are_tight_the_one_that_takes_longest_is_told(home):
    async with a_ledger(home) as ledger:
        await admit_and_settle(ledger, call(), usage=USED)

        async def refusal(*ceilings):
            await ledger.configure_ceilings(ceilings)
            return (await ledger.admit(call())).error

        assert isinstance(await refusal(calls(0), dollars(0, window="day")), CeilingExceeded)
        assert (await refusal(calls(1), tokens(100, window="day"))).tight.unit == "tokens"
        assert (await refusal(calls(1, window="hour"), calls(1, window="total"))).tight.window == "total"
        assert (await refusal(calls(1, window="month"), tokens(99))).tight.unit == "tokens", "it never fits"
        await ledger.configure_ceilings(())
    async with a_ledger(home, ceilings=[dollars(1900), tokens(200)]) as ledger:
        await ledger.admit(call())
        assert isinstance((await ledger.admit(call(bid(tokens=1)))).error, CeilingHeld)
        assert isinstance((await ledger.admit(call())).error, RateLimited)


async def test_a_call_counts_once_however_many_attempts_it_takes_and_each_one_that_was_sent_at_its_deployment(home):
    limits = [calls(1), calls(9, "provider:*"), calls(9, "model:*"), tokens(500)]
    async with a_ledger(home, ceilings=limits) as ledger:
        request = call(bid("p:a"))
        lead = await ledger.admit(request)
        for number, name, status in ((2, "p:b", 500), (3, "q:a", None)):
            failed = a_result(lead, cost=None, outcome="upstream_error", status=status)
            further = NextAttempt(
                facts=request.facts, closed=(failed,), attempt=number, bids=(bid(name),), now_ms=BEGAN_MS
            )
            lead = await ledger.hold_next(further)
            assert isinstance(lead, Lead)
        await ledger.settle(Settlement(attempts=(a_result(lead, usage=USED),), ending=an_ending(request)))
        found = await counts(ledger)
        assert {scope: spent for (scope, unit), (spent, _) in found.items() if unit == "calls"} == {
            "global": 1,
            "provider:p": 1,
            "model:p:a": 1,
            "model:p:b": 0,
            "provider:q": 1,
            "model:q:a": 1,
        }
        assert found["global", "tokens"] == (60, 0)
        assert isinstance((await ledger.admit(call())).error, RateLimited)
    assert violations(home) == set()


async def test_what_costs_nothing_passes_under_money_and_counts_in_tokens_and_calls(home):
    async with a_ledger(home, ceilings=[dollars(0), tokens(150), calls(9)]) as ledger:
        assert isinstance(await ledger.admit(call(bid(held=0))), Lead)
        refused = await ledger.admit(call(bid(held=0)))
        assert refused.tight.unit == "tokens"
        assert await counts(ledger) == {
            ("global", "usd"): (0, 0),
            ("global", "tokens"): (0, 100),
            ("global", "calls"): (0, 1),
        }


async def test_a_hit_and_a_follower_pass_exhausted_rates(home):
    async with a_ledger(home, ceilings=[calls(2), tokens(10_000)]) as ledger:
        await admit_and_settle(ledger, call(key="k"))
        leads, follows = call(key="other"), call(key="other")
        await ledger.admit(leads)
        assert not isinstance(await ledger.admit(call(key="k")), Refused | Lead)
        assert not isinstance(await ledger.admit(follows), Refused | Lead)
        assert isinstance(await ledger.admit(call(key="new")), Refused)
        assert (await counts(ledger))["global", "calls"] == (1, 1)


async def test_a_name_of_its_own_takes_the_place_of_its_template_in_that_unit_alone(home):
    limits = [calls(1, "user:*"), tokens(1000, "user:*"), calls(2, "user:u1")]
    async with a_ledger(home, ceilings=limits) as ledger:
        for _ in range(2):
            assert isinstance(await ledger.admit(call()), Lead)
        assert (await ledger.admit(call())).tight.limit == 2
        assert set(await counts(ledger)) == {("user:u1", "calls"), ("user:u1", "tokens")}


@pytest.mark.parametrize("scope", ["global", "user:*", "model:p:m"])
async def test_a_ceiling_that_comes_later_counts_what_its_window_has_seen(home, scope):
    async with a_ledger(home) as ledger:
        await admit_and_settle(ledger, call(), usage=USED)
        unsent, refused = call(), call()
        for request, status in ((unsent, None), (refused, 429)):
            lead = await ledger.admit(request)
            await ledger.settle(a_settlement(request, lead, cost=None, outcome="rate_limited", status=status))
        await ledger.admit(call())
        await ledger.configure_ceilings((calls(9, scope), tokens(900, scope)))
        found = await counts(ledger)
        is_deployments = scope.startswith("model")
        assert {unit: amounts for (_, unit), amounts in found.items()} == {
            "calls": (2 if is_deployments else 3, 1),
            "tokens": (60, 100),
        }
        # Raised, given up and taken up again: nothing is lost or counted twice.
        for ceilings in ((calls(3, scope), tokens(90, scope)), (), (calls(9, scope), tokens(900, scope))):
            await ledger.configure_ceilings(ceilings)
        assert await counts(ledger) == found
    assert violations(home) == set()


async def test_a_lapse_spends_the_whole_hold_until_what_was_used_is_learned(home):
    limits = [tokens(1000, window="total"), calls(9, window="total"), calls(9, "model:p:m", "total")]
    used, unsent = call(), call()
    clock = Clock()
    async with a_ledger(home, clock=clock, ceilings=limits) as late:
        leads = [await late.admit(used), await late.admit(unsent)]
        clock.at_ms += LEASE_OVER_MS
        async with a_ledger(home, clock=clock, ceilings=limits) as ledger:
            await ledger._sweep()
            assert (await counts(ledger))["global", "tokens"] == (200, 0)
            await ledger.settle(a_settlement(used, leads[0], usage=USED))
            await ledger.settle(a_settlement(unsent, leads[1], cost=None, outcome="aborted"))
            assert await counts(ledger) == {
                ("global", "tokens"): (60, 0),
                ("global", "calls"): (2, 0),
                ("model:p:m", "calls"): (2, 0),
            }
    assert violations(home) == set()


async def test_a_correction_changes_tokens_only_where_they_become_known_and_calls_never(home):
    clock = Clock()
    limits = [tokens(1000, window="total"), calls(9, window="total")]
    async with a_ledger(home, clock=clock, ceilings=limits) as ledger:
        known, unknown = call(), call()
        first = await admit_and_settle(ledger, known, usage=USED)
        second = await ledger.admit(unknown)
        result = msgspec.structs.replace(a_result(second), usage=None)
        await ledger.settle(Settlement(attempts=(result,), ending=an_ending(unknown)))
        assert (await counts(ledger))["global", "tokens"] == (160, 0)
        facts = {"basis": "provider_reported", "reason": "said so", "price_version": "v1"}
        async with open_corrector(home.url, clock_ms=clock) as corrector:
            await corrector.correct([Correction(hold_id=first.hold_id, cost_nanousd=7, **facts)])
            learned = Correction(hold_id=second.hold_id, cost_nanousd=9, usage=Usage(output_tokens=11), **facts)
            await corrector.correct([learned])
        assert await counts(ledger) == {("global", "tokens"): (71, 0), ("global", "calls"): (2, 0)}
    assert violations(home) == set()


async def a_history(home, clock):
    """Calls of every ending under a total in each unit and windows that are over."""
    limits = [
        tokens(10_000, window="total"),
        calls(99, window="total"),
        calls(99, "model:p:m", "total"),
        tokens(10_000, "user:*", "hour"),
        calls(99, "provider:p", "hour"),
        dollars(10**6, window="total"),
    ]
    async with a_ledger(home, clock=clock, ceilings=limits) as ledger:
        for status in (None, 429):
            request = call()
            lead = await ledger.admit(request)
            await ledger.settle(a_settlement(request, lead, cost=None, outcome="rate_limited", status=status))
        await admit_and_settle(ledger, call(), usage=Usage(input_tokens=170))
        await admit_and_settle(ledger, call(), usage=USED)
        clock.at_ms += DAY_MS
        await admit_and_settle(ledger, call(now_ms=clock.at_ms), usage=USED)
        return await counts(ledger)


async def test_folded_detail_stays_counted_in_each_unit(home):
    clock = Clock()
    before = await a_history(home, clock)
    assert before["global", "tokens"] == (290, 0)
    assert before["model:p:m", "calls"] == (4, 0)
    now_ms = BEGAN_MS + 3 * DAY_MS
    pruned = prune_ledger(home.url, BEGAN_MS + HOUR_MS * 2, now_ms=now_ms, on_step=str)
    assert (pruned.postings, pruned.holds) == (2, 4)
    assert violations(home) == set()
    async with a_ledger(home, clock=clock) as ledger:
        await ledger.configure_ceilings((tokens(10_000, window="total"), calls(99, window="total")))
        after = await counts(ledger)
    assert after == {place: before[place] for place in after}


DAMAGE = {
    "invariant 1: held + spent stays under the limit, in tokens": (
        "UPDATE ceiling_windows SET limit_amount = 7, excused_amount = 7 WHERE counts = 'tokens'"
    ),
    "invariant 1: held + spent stays under the limit": (
        "UPDATE ceiling_windows SET limit_amount = 1, excused_amount = 1 WHERE counts = 'calls'"
    ),
    "invariant 2: held is the sum of open holds": (
        "UPDATE ceiling_windows SET held_amount = 1 WHERE counts IN ('attempts', 'calls')"
    ),
    "invariant 2: spent is the sum of postings": (
        "UPDATE ceiling_windows SET spent_amount = spent_amount + 1 WHERE counts = 'tokens'"
    ),
    "invariant 2: spent is the number of calls that are over": (
        "UPDATE ceiling_windows SET spent_amount = spent_amount - 1 WHERE counts = 'attempts'"
    ),
    TOKENS: "UPDATE postings SET tokens = tokens + 1",
    "invariant 5: a hold is in every window that counts it, or in none": (
        "DELETE FROM hold_windows WHERE ceiling_id = 'calls/hour provider:p'"
    ),
}


@pytest.mark.parametrize("rule", DAMAGE)
async def test_the_audit_finds_what_is_wrong_in_each_unit(home, rule):
    await a_history(home, Clock())
    assert violations(home) == set()
    with home.database(ruled=False) as db:
        assert db.execute(DAMAGE[rule]).rowcount
    assert rule in violations(home)


def test_a_ledger_of_before_units_keeps_its_counts():
    (number,) = (number for number, script in migrations("sqlite") if "Ceilings in tokens and in calls" in script)
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as db:
        for before, script in migrations("sqlite"):
            if before < number:
                run_script(db, script)
        db.executescript(
            f"""
            PRAGMA foreign_keys = ON;
            INSERT INTO owners (owner_id, process, started_at_ms, lease_until_ms) VALUES ('own', 'p', 0, {BEGAN_MS});
            INSERT INTO ceilings VALUES ('total global', 'global', 'total', 900, 1, 0, 'wait', 0, 0.5);
            INSERT INTO ceiling_windows VALUES ('total global', 0, NULL, 900, 900, 30, 12, 0);
            INSERT INTO generations (generation_id, created_at_ms, route, stream, trace_id, key_id, team, user_id,
                                     workflow, run, tags, cache, deployment)
            VALUES ('gen', 1, 'r', 0, '', '', '', '', '', '', '', 'miss', 'p:m');
            INSERT INTO holds (hold_id, generation_id, attempt, owner_id, deployment, price_version, held_nanousd,
                               state, taken_at_ms, closed_at_ms, outcome)
            VALUES ('gen.1', 'gen', 1, 'own', 'p:m', 'v', 30, 'settled', 1, 2, 'ok');
            INSERT INTO hold_windows VALUES ('gen.1', 'total global', 0);
            INSERT INTO postings (seq, hold_id, kind, cost_nanousd, cost_basis, overrun_nanousd, input_tokens,
                                  cached_tokens, cache_write_tokens, output_tokens, reasoning_tokens,
                                  output_audio_tokens, price_version, posted_at_ms, chain)
            VALUES (1, 'gen.1', 'settlement', 12, 'free', 0, 1, 2, 3, 4, 5, 6, 'v', 2, zeroblob(32));
            BEGIN;
            """
        )
        run_script(db, dict(migrations("sqlite"))[number])
        db.execute("COMMIT")
        assert db.execute("SELECT * FROM ceilings").fetchall() == [
            ("total global", "global", "total", "nanousd", 900, 1, 0, "wait", 0, 0.5)
        ]
        assert db.execute("SELECT * FROM ceiling_windows").fetchall() == [
            ("total global", 0, None, "nanousd", 900, 900, 30, 12, 0)
        ]
        assert db.execute("SELECT tokens, held_tokens FROM postings JOIN holds USING (hold_id)").fetchall() == [(21, 0)]
        assert db.execute("PRAGMA foreign_key_check").fetchall() == []
