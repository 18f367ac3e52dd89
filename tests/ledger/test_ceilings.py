"""Ceilings: every scope and window, templates, what becomes of calls that do not fit, and when room returns."""

from itertools import product

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.ceilings import (
    DAY_MS,
    FOUND_KEPT,
    HELD_IS_BELIEVED_MS,
    NEVER_MS,
    STRICTNESS,
    Ceiling,
    CeilingTable,
    Span,
    pressed_until_ms,
    scopes_of,
    strictest,
    window_span,
)
from ledger.operations.ceilings import ceiling_statuses, configure_ceilings
from ledger.operations.room import SOONEST_MS, earliest_release_ms
from ledger.values import Bid, Lead, Pressure, Refused
from ledger.verify import verify_ledger
from tests.ledger.calls import BEGAN_MS, Clock, a_call, a_ledger, a_settlement, admit_and_settle

WHO = {"key": "k1", "team": "t1", "user": "u1", "workflow": "w", "run": "r1"}
SCOPES = ("global", "provider:p", "model:p:m", "key:k1", "team:t1", "user:u1", "workflow:w", "run:r1")


def ceiling(scope, limit, window="day", when_tight="refuse"):
    return Ceiling(scope=scope, window=window, limit=limit, when_tight=when_tight)


def call(held=1000, now_ms=BEGAN_MS, deployment="p:m", **who):
    request = a_call(held=held, now_ms=now_ms, deployment=deployment)
    facts = msgspec.structs.replace(request.facts, attribution={**WHO, **who})
    return msgspec.structs.replace(request, facts=facts)


def statuses(found):
    return {(it["scope"], it["window"]): (it["spent_nanousd"], it["held_nanousd"]) for it in found}


def is_clean(home):
    return verify_ledger(home.url, on_rule=lambda _: None).violations == ()


@pytest.mark.parametrize(("scope", "window"), list(product(SCOPES, ("minute", "hour", "day", "month", "total"))))
async def test_a_ceiling_of_every_scope_and_window_binds(home, scope, window):
    async with a_ledger(home, ceilings=[ceiling(scope, 1500, window)]) as ledger:
        assert isinstance(await ledger.admit(call()), Lead)
        refused = await ledger.admit(call())
        assert isinstance(refused, Refused)
        assert (refused.tight.scope, refused.tight.window, refused.held) == (scope, window, True)
        others = call(key="k2", team="t2", user="u2", workflow="v", run="r2", deployment="q:n")
        assert isinstance(await ledger.admit(others), Refused if scope == "global" else Lead)
    assert is_clean(home)


async def test_a_template_gives_every_name_a_ceiling_of_its_own_but_those_that_have_one(home):
    limits = [ceiling("user:*", 1500), ceiling("user:rich", 3500), ceiling("user:rich", 9000, "month")]
    async with a_ledger(home, ceilings=limits) as ledger:
        kinds = [type(await ledger.admit(call(user=name))) for name in ("a", "b", "a", *["rich"] * 4)]
        assert kinds == [Lead, Lead, Refused, Lead, Lead, Lead, Refused]
        assert isinstance(await ledger.admit(call(user="")), Lead), "nobody is no name"
        assert statuses(await ledger.ceilings()) == {
            ("user:a", "day"): (0, 1000),
            ("user:b", "day"): (0, 1000),
            ("user:rich", "day"): (0, 3000),
            ("user:rich", "month"): (0, 3000),
        }
    assert is_clean(home)


async def test_a_report_of_the_fullest_ceilings_leaves_out_the_others(home):
    limits = [ceiling("user:*", 9000), ceiling("user:full", 1000), ceiling("global", 4000), ceiling("user:none", 0)]
    async with a_ledger(home, ceilings=limits) as ledger:
        for name in ("a", "full"):
            assert isinstance(await ledger.admit(call(user=name)), Lead)
        scopes = ["user:none", "user:full", "global", "user:a"]
        for top in (1, 2, 4, 9):
            assert [found["scope"] for found in await ledger.ceilings(top)] == scopes[:top]


@pytest.mark.parametrize(
    "name", ["*", "\\*", "\\\\*", ":", "a:b", "a:*", "'; DROP TABLE holds; --", "x" * 500, "\u202e", "%"]
)
async def test_no_name_is_taken_for_another_or_for_the_template(home, name):
    async with a_ledger(home, ceilings=[ceiling("user:*", 1500)]) as ledger:
        kinds = [type(await ledger.admit(call(user=user))) for user in (name, "other", name, "other")]
        assert kinds == [Lead, Lead, Refused, Refused]
        assert len(await ledger.ceilings()) == 2
    assert is_clean(home)


async def test_a_template_counts_what_its_names_spent_in_this_window_before_it_came(home):
    clock = Clock()
    async with a_ledger(home, clock=clock) as ledger:
        open_call = call(user="a")
        lead = await ledger.admit(open_call)
        await admit_and_settle(ledger, call(user="b"), cost=400)
        await ledger.configure_ceilings((ceiling("user:*", 1500),))
        assert statuses(await ledger.ceilings()) == {("user:a", "day"): (0, 1000), ("user:b", "day"): (400, 0)}
        assert isinstance(await ledger.admit(call(user="a")), Refused)
        assert isinstance(await ledger.admit(call(user="b")), Lead)
        # Raised, given up and taken up again: nothing is lost or counted twice.
        await ledger.configure_ceilings((ceiling("user:*", 2500),))
        assert isinstance(await ledger.admit(call(user="a")), Lead)
        await ledger.configure_ceilings(())
        await ledger.settle(a_settlement(open_call, lead, cost=300))
        assert await ledger.ceilings() == []
        await ledger.configure_ceilings((ceiling("user:*", 2500),))
        assert statuses(await ledger.ceilings()) == {("user:a", "day"): (300, 1000), ("user:b", "day"): (400, 1000)}
        # A name of its own, and back to the template's.
        await ledger.configure_ceilings((ceiling("user:*", 2500), ceiling("user:a", 1)))
        assert isinstance(await ledger.admit(call(user="a")), Refused)
        await ledger.configure_ceilings((ceiling("user:*", 2500),))
        assert isinstance(await ledger.admit(call(user="a")), Lead)
        clock.at_ms += DAY_MS
        assert isinstance(await ledger.admit(call(user="a", now_ms=clock.at_ms)), Lead)
    assert is_clean(home)


async def test_what_costs_nothing_passes_under_exhausted_ceilings_and_templates(home):
    async with a_ledger(home, ceilings=[ceiling("global", 0), ceiling("user:*", 0)]) as ledger:
        assert isinstance(await ledger.admit(call(held=1)), Refused)
        assert isinstance(await ledger.admit(call(held=0)), Lead)


async def test_held_is_told_from_spent_by_the_ceiling_that_no_settling_helps(home):
    limits = [ceiling("global", 2500), ceiling("user:a", 1500)]
    async with a_ledger(home, ceilings=limits) as ledger:
        await admit_and_settle(ledger, call(user="a"), cost=1000)
        assert isinstance(await ledger.admit(call(user="b")), Lead)
        refused = await ledger.admit(call(user="a"))
        assert isinstance(refused, Refused)
        assert not refused.held, "the global one would fit once settled, the user's never"
        assert refused.tight.scope == "user:a"
        assert refused.room_nanousd == 500
        refused = await ledger.admit(call(user="c"))
        assert isinstance(refused, Refused)
        assert refused.held


@pytest.mark.parametrize(("one", "other"), list(product(STRICTNESS, repeat=2)))
async def test_of_several_tight_ceilings_the_strictest_decides(home, one, other):
    limits = [ceiling("global", 700, when_tight=one), ceiling("user:*", 300, when_tight=other)]
    async with a_ledger(home, ceilings=limits) as ledger:
        refused = await ledger.admit(call())
        assert isinstance(refused, Refused)
        assert refused.when_tight == strictest((one, other))
        assert refused.room_nanousd == 300
    order = ["refuse", "clamp", "wait"]
    assert strictest((one, other)) == order[min(order.index(one), order.index(other))]


def test_a_table_finds_what_a_search_of_all_ceilings_finds():
    ceilings = [
        ceiling("global", 1),
        ceiling("key:*", 2),
        ceiling("key:k1", 3, "month"),
        ceiling("model:*", 4, "total"),
    ]
    found = CeilingTable(ceilings).for_attempt("p:m:n", WHO)
    assert [(it.scope, it.window, it.limit) for it in found] == [
        ("global", "day", 1),
        ("model:p:m:n", "total", 4),
        ("key:k1", "month", 3),
        ("key:k1", "day", 2),
    ]
    assert list(scopes_of("p:m", {"user": "", "team": "*"})) == ["global", "provider:p", "model:p:m", "team:\\*"]


def test_a_table_keeps_apart_whom_its_ceilings_keep_apart_and_no_others():
    table = CeilingTable([ceiling("global", 1), ceiling("user:*", 2)])
    for user in ("u1", "u2", "u1"):
        for run in ("r1", "r2"):
            found = table.for_attempt("p:m", {"user": user, "run": run})
            assert [it.scope for it in found] == ["global", f"user:{user}"]
    assert len(table._found) == 2
    for number in range(FOUND_KEPT + 5):
        assert table.for_attempt("p:m", {"user": f"v{number}"})[1].scope == f"user:v{number}"
    assert len(table._found) <= FOUND_KEPT


async def test_room_is_expected_when_the_calls_that_hold_it_usually_end(home):
    clock = Clock()
    async with a_ledger(home, clock=clock, ceilings=[ceiling("global", 10_000)]) as ledger:
        for _ in range(3):
            await admit_and_settle(ledger, call(), cost=0, latency_us=8_000_000)
        for _ in range(10):
            assert isinstance(await ledger.admit(call(now_ms=clock.at_ms)), Lead)
            clock.at_ms += 500
        refused = await ledger.admit(call(held=1500, now_ms=clock.at_ms))
        assert isinstance(refused, Refused)
        # The first two holds must settle: the second was taken half a second after the first.
        assert refused.tight.earliest_release_at_ms == BEGAN_MS + 500 + 8000


HOLDS = st.lists(st.tuples(st.integers(1, 100), st.integers(0, 10_000), st.none() | st.integers(0, 10_000)), max_size=8)


@given(HOLDS, st.integers(1, 500), st.integers(0, 20_000), st.integers(0, 40_000))
def test_the_moment_of_return_is_at_least_a_second_off_and_within_the_window(holds, short, now_ms, ends_at_ms):
    holds = sorted(holds, key=lambda hold: hold[1])
    moment_ms = earliest_release_ms(holds, short, now_ms=now_ms, ends_at_ms=ends_at_ms)
    assert now_ms + SOONEST_MS <= moment_ms <= max(ends_at_ms, now_ms + SOONEST_MS)
    enough = next((n for n in range(1, len(holds) + 1) if sum(held for held, _, _ in holds[:n]) >= short), len(holds))
    usual = [taken_at_ms + (usual_ms or 0) for _, taken_at_ms, usual_ms in holds[:enough]]
    assert moment_ms == min(max(now_ms + SOONEST_MS, *usual, 0), max(ends_at_ms, now_ms + SOONEST_MS))


async def test_a_ceilings_name_is_on_record_before_its_window(home):
    async with a_ledger(home, ceilings=[ceiling("run:*", 5000)]) as ledger:
        for number in range(5):
            assert isinstance(await ledger.admit(call(run=f"run {number}")), Lead)
    with home.database() as db:
        assert db.execute("SELECT COUNT(*) FROM ceiling_windows JOIN ceilings USING (ceiling_id)").fetchone() == (5,)
    assert is_clean(home)


@pytest.mark.parametrize("scope", ["user:*", "key:k1", "team:*", "workflow:w", "run:*"])
async def test_a_hold_that_a_callers_ceiling_does_not_count_is_found_by_the_audit(home, scope):
    async with a_ledger(home, ceilings=[ceiling(scope, 5000)]) as ledger:
        assert isinstance(await ledger.admit(call()), Lead)
    assert is_clean(home)
    with home.database() as db:
        db.execute("DELETE FROM hold_windows")
        db.execute("UPDATE ceiling_windows SET held_amount = 0")
    found = verify_ledger(home.url, on_rule=lambda _: None).violations
    assert "invariant 5: a hold is in every window that counts its caller, or in none" in {it.rule for it in found}


async def test_what_one_process_puts_in_force_binds_the_others_at_once(home):
    clock = Clock()
    async with a_ledger(home, clock=clock) as one, a_ledger(home, clock=clock) as other:
        await one.configure_ceilings((ceiling("user:*", 1500, when_tight="wait"), ceiling("global", 9000)))
        assert isinstance(await other.admit(call()), Lead)
        refused = await other.admit(call())
        assert isinstance(refused, Refused)
        assert refused.when_tight == "wait"
        await other.configure_ceilings((ceiling("global", 9000),))
        assert isinstance(await one.admit(call()), Lead)
        # Back again, from the process that had not seen it go: what was admitted meanwhile is counted.
        await one.configure_ceilings((ceiling("user:*", 2500, when_tight="wait"), ceiling("global", 9000)))
        assert isinstance(await other.admit(call()), Refused)
    assert is_clean(home)


async def test_a_star_within_a_name_stands_for_nobody_else(home):
    async with a_ledger(home) as ledger:
        await admit_and_settle(ledger, call(user="a:*"), cost=1000)
        await ledger.configure_ceilings((ceiling("user:*", 1500),))
        assert statuses(await ledger.ceilings()) == {("user:a:*", "day"): (1000, 0)}
        assert isinstance(await ledger.admit(call(user="a:*")), Refused)
        assert isinstance(await ledger.admit(call(user="a:b")), Lead)
    assert is_clean(home)


async def test_a_new_template_reads_what_its_names_spent_once_for_all_of_them(sqlite_home):
    async with a_ledger(sqlite_home) as ledger:
        for number in range(20):
            await ledger.admit(call(user=f"user {number}"))
    asked = []
    with sqlite_home.database() as db:
        db.set_trace_callback(
            lambda sql: asked.append(sql) if "NOT EXISTS (SELECT 1 FROM hold_windows" in sql else None
        )
        configure_ceilings(db, (ceiling("user:*", 1500),), now_ms=BEGAN_MS)
        assert len(ceiling_statuses(db, now_ms=BEGAN_MS)) == 20
    assert len(asked) == 1
    assert is_clean(sqlite_home)


@pytest.mark.parametrize("scope", ["global", "user:*"])
async def test_a_ceiling_that_comes_after_the_clock_was_put_back_counts_later_windows_too(home, scope):
    clock = Clock(BEGAN_MS + 2 * DAY_MS)
    async with a_ledger(home, clock=clock) as ledger:
        assert isinstance(await ledger.admit(call(now_ms=clock.at_ms)), Lead)
        clock.at_ms = BEGAN_MS
        await ledger.configure_ceilings((ceiling(scope, 1500),))
        assert isinstance(await ledger.admit(call(now_ms=clock.at_ms)), Lead)
        clock.at_ms = BEGAN_MS + 2 * DAY_MS
        assert isinstance(await ledger.admit(call(now_ms=clock.at_ms)), Refused)
    assert is_clean(home)


AT = st.floats(0.01, 1)
AMOUNT = st.integers(0, 2000)


@given(AT, AMOUNT, AMOUNT, AMOUNT, st.sampled_from([None, BEGAN_MS + 1000, BEGAN_MS + DAY_MS]))
def test_what_is_spent_presses_until_the_window_ends_and_what_is_held_for_a_while(at, limit, held, spent, ends_at_ms):
    pressed = Ceiling(scope="global", window="day", limit=limit, downgrade_at=at)
    until_ms = pressed_until_ms(pressed, Span(0, ends_at_ms), held=held, spent=spent, now_ms=BEGAN_MS)
    ends_at_ms = ends_at_ms or NEVER_MS
    if spent >= at * limit:
        assert until_ms == ends_at_ms
    elif held + spent >= at * limit:
        assert until_ms == min(BEGAN_MS + HELD_IS_BELIEVED_MS, ends_at_ms)
    else:
        assert until_ms == 0
    never = msgspec.structs.replace(pressed, downgrade_at=None)
    assert not pressed_until_ms(never, Span(0, None), held=held, spent=spent, now_ms=BEGAN_MS)


async def test_an_admission_tells_how_full_it_leaves_the_ceilings_that_ask_for_it(home):
    near = Ceiling(scope="user:*", window="day", limit=2000, downgrade_at=0.9)
    asked = (near, ceiling("global", 9000))
    ends_at_ms = window_span("day", BEGAN_MS).ends_at_ms

    def pressure(until_ms):
        return (Pressure(ceiling_id="day user:u1", limit=2000, until_ms=until_ms),)

    # As another process configured them.
    async with a_ledger(home, ceilings=asked), a_ledger(home, ceilings=asked) as ledger:
        first, second, third = call(1000), call(1000), call(150)
        lead = await ledger.admit(first)
        assert lead.pressures == pressure(0)
        assert (await ledger.admit(second)).pressures == pressure(BEGAN_MS + HELD_IS_BELIEVED_MS)
        refused = await ledger.admit(third)
        assert refused.pressures == pressure(BEGAN_MS + HELD_IS_BELIEVED_MS)
        for request, cost in ((first, 1000), (second, 850)):
            await ledger.settle(a_settlement(request, await ledger.admit(request), cost=cost))
        assert (await ledger.admit(third)).pressures == pressure(ends_at_ms)


async def test_the_ceilings_of_a_bid_that_does_not_fit_are_told_of_with_the_one_that_does(home):
    dear = Ceiling(scope="model:p:dear", window="total", limit=1000, downgrade_at=0.5)
    async with a_ledger(home, ceilings=[dear]) as ledger:
        await admit_and_settle(ledger, call(900, deployment="p:dear"), cost=900)
        bids = tuple(Bid(deployment=name, held_nanousd=200, price_version="v1") for name in ("p:dear", "p:m"))
        lead = await ledger.admit(msgspec.structs.replace(call(), bids=bids))
        assert lead.bid == 1
        assert [it.ceiling_id for it in lead.pressures] == [dear.id]
        assert lead.pressures[0].until_ms == NEVER_MS
