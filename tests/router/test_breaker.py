"""The breaker's table, walked pair by pair, and its promises under any history."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.breaker import (
    COOLDOWN_GROWTH_CAP,
    TRANSITIONS,
    Breaker,
    BreakerEvent,
    BreakerRule,
    BreakerState,
    admit,
    is_usable,
    record,
)

RULE = BreakerRule(threshold=3, cooldown_s=60.0)


def closed(failures: int = 0) -> Breaker:
    return Breaker(consecutive_failures=failures)


def opened(until_s: float = 60.0) -> Breaker:
    return Breaker(state=BreakerState.OPEN, consecutive_failures=3, open_count=1, until_s=until_s, cooldown_s=60.0)


def half_open() -> Breaker:
    return msgspec.structs.replace(opened(), state=BreakerState.HALF_OPEN)


STANDS = {
    BreakerState.CLOSED: closed(failures=2),
    BreakerState.OPEN: opened(until_s=0.0),
    BreakerState.HALF_OPEN: half_open(),
}


@pytest.mark.parametrize("state", list(BreakerState))
@pytest.mark.parametrize("event", [event for event in BreakerEvent if event != BreakerEvent.TIME_UP])
def test_every_pair_moves_as_the_table_says_and_no_other_way(state, event):
    after = record(STANDS[state], event, RULE, now_s=10.0, now_ms=10_000)
    assert after.state == TRANSITIONS.get((state, event), state)


@pytest.mark.parametrize("state", list(BreakerState))
def test_time_alone_only_opens_the_way_for_a_probe(state):
    after, admitted = admit(STANDS[state], now_s=100.0)
    assert after.state == TRANSITIONS.get((state, BreakerEvent.TIME_UP), state)
    assert admitted == (state != BreakerState.HALF_OPEN)


def test_it_opens_at_the_third_fault_in_a_row_and_not_before():
    breaker = Breaker()
    states = []
    for _ in range(3):
        breaker = record(breaker, BreakerEvent.FAULT, RULE, now_s=0.0, now_ms=0)
        states.append(breaker.state)
    assert states == [BreakerState.CLOSED, BreakerState.CLOSED, BreakerState.OPEN]


def test_a_success_between_faults_starts_the_count_anew():
    breaker = record(closed(failures=2), BreakerEvent.SUCCESS, RULE, now_s=0.0, now_ms=0)
    assert record(breaker, BreakerEvent.FAULT, RULE, now_s=0.0, now_ms=0).state == BreakerState.CLOSED


def test_of_a_thousand_waiters_one_probes():
    breaker, let_through = opened(until_s=60.0), 0
    for _ in range(1000):
        breaker, admitted = admit(breaker, now_s=60.0)
        let_through += admitted
    assert let_through == 1


def test_a_probe_that_we_stopped_gives_its_turn_to_the_next_caller():
    breaker = record(half_open(), BreakerEvent.NEUTRAL, RULE, now_s=61.0, now_ms=0)
    assert admit(breaker, now_s=61.0)[1]


def test_the_cooldown_doubles_up_to_its_cap():
    breaker, now_s, spans = Breaker(), 0.0, []
    for _ in range(RULE.threshold):
        breaker = record(breaker, BreakerEvent.FAULT, RULE, now_s=now_s, now_ms=0)
    for _ in range(6):
        spans.append(breaker.until_s - now_s)
        now_s = breaker.until_s
        breaker, _ = admit(breaker, now_s)
        breaker = record(breaker, BreakerEvent.FAULT, RULE, now_s=now_s, now_ms=0)
    assert spans == [60, 120, 240, 480, 600, 600]


@given(st.lists(st.sampled_from([BreakerEvent.NEUTRAL]), max_size=50))
def test_our_own_aborts_never_open_it(events):
    breaker = closed(failures=2)
    for event in events:
        breaker = record(breaker, event, RULE, now_s=0.0, now_ms=0)
    assert breaker == closed(failures=2)


@given(
    st.lists(
        st.tuples(st.sampled_from(["admit", "success", "fault", "neutral", "flood"]), st.floats(0, 100)), max_size=80
    )
)
def test_whatever_happens_at_most_one_probe_is_out_and_counts_only_grow(steps):
    breaker, now_s, probes_out = Breaker(), 0.0, 0
    for step, pause_s in steps:
        now_s += pause_s
        before = breaker
        if step == "admit":
            breaker, admitted = admit(breaker, now_s)
            assert admitted == is_usable(before, now_s)
            probes_out += admitted and before.state != BreakerState.CLOSED
        else:
            event = BreakerEvent(step)
            breaker = record(breaker, event, RULE, now_s=now_s, now_ms=0)
            if before.state == BreakerState.HALF_OPEN and event != BreakerEvent.FLOOD:
                probes_out -= 1
        assert probes_out == (breaker.state == BreakerState.HALF_OPEN)
        assert breaker.open_count >= before.open_count
        assert breaker.total_failures >= before.total_failures
        assert breaker.cooldown_s <= RULE.cooldown_s * COOLDOWN_GROWTH_CAP


def test_a_call_that_began_before_it_opened_is_only_counted():
    before = opened(until_s=60.0)
    after = record(before, BreakerEvent.SUCCESS, RULE, now_s=1.0, now_ms=1000)
    assert (after.state, after.until_s, after.cooldown_s) == (BreakerState.OPEN, 60.0, 60.0)
    assert after.total_successes == 1
