"""What becomes of a delivery: every state with everything that can happen to it, and how long is waited in between."""

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.events import DELIVERY_MOVES, Delivery, Event, EventRaised, EventsQuery
from service.alerts.answers import (
    BACKOFF_CAP_S,
    BACKOFF_S,
    PATIENCE_MS,
    TRANSITIONS,
    TRIES,
    Answer,
    Outcome,
    answer_of,
    no_answer,
    outcome_of,
    wait_s,
)
from service.alerts.courier import tried_of
from tests.ledger.calls import BEGAN_MS, a_ledger

STATES = ("pending", "delivered", "dead")
RAISED = EventRaised(type="disk.low", dedup_key="disk.low x", at_ms=BEGAN_MS, facts={})
OLD_MS = BEGAN_MS + PATIENCE_MS
ANSWERS = {Outcome.ACCEPTED: answer_of(200), Outcome.FAILED: answer_of(500), Outcome.GONE: answer_of(410)}


def test_the_table_has_the_ledgers_moves_and_no_others():
    assert {(state, after) for (state, _), after in TRANSITIONS.items()} == DELIVERY_MOVES


@pytest.mark.parametrize(("state", "outcome"), list(product(STATES, Outcome)))
async def test_the_ledger_moves_each_delivery_as_the_table_says_and_no_other(tmp_path, state, outcome):
    async with a_ledger(tmp_path) as ledger:

        async def happens(what: Outcome):
            if what == Outcome.RETRY:
                await ledger.retry_delivery(RAISED.id)
                return
            delivery = Delivery(
                event=Event(seq=1, id=RAISED.id, type="disk.low", at_ms=BEGAN_MS, facts={}), target="hook", tries=TRIES
            )
            is_last = what == Outcome.EXHAUSTED
            answer = ANSWERS[Outcome.FAILED if is_last else what]
            tried = tried_of(delivery, answer, now_ms=OLD_MS if is_last else BEGAN_MS, chance=0.5)
            assert tried.state == TRANSITIONS["pending", what]
            await ledger.record_tries([tried])

        async def now():
            (alert,) = (await ledger.events(EventsQuery()))["alerts"]
            return alert["deliveries"][0]["state"]

        await ledger.due_deliveries({"hook": ["*"]}, BEGAN_MS, 1)
        await ledger.raise_event(RAISED)
        assert await ledger.due_deliveries({"hook": ["*"]}, BEGAN_MS, 1)
        if state != "pending":
            await happens(Outcome.ACCEPTED if state == "delivered" else Outcome.GONE)
        assert await now() == state
        await happens(outcome)
        assert await now() == TRANSITIONS.get((state, outcome), state)


@given(status=st.integers(100, 599))
def test_a_status_is_success_the_end_or_tried_again(status: int) -> None:
    answer = answer_of(status, retry_after_s=3)
    expected = Outcome.ACCEPTED if status // 100 == 2 else Outcome.GONE if status == 410 else Outcome.FAILED
    assert (answer.outcome, answer.status) == (expected, status)
    assert answer.is_trouble == (status in {408, 425, 429} or status >= 500)
    assert (answer.retry_after_s == 3) == (expected == Outcome.FAILED)


@given(tries=st.integers(1, 100), age_ms=st.integers(0, 3 * PATIENCE_MS))
def test_only_what_is_a_day_old_and_was_tried_often_is_given_up(tries: int, age_ms: int) -> None:
    is_over = tries >= 10 and age_ms >= 24 * 3600 * 1000
    assert outcome_of(no_answer("x"), tries=tries, age_ms=age_ms) == (Outcome.EXHAUSTED if is_over else Outcome.FAILED)
    assert outcome_of(Answer.accepted(), tries=tries, age_ms=age_ms) == Outcome.ACCEPTED


@given(failures=st.integers(1, 10_000), chance=st.floats(0, 1), asked_s=st.none() | st.floats(0, 3600))
def test_waits_double_to_an_hour_with_full_jitter_and_never_end_before_they_may(
    failures: int, chance: float, asked_s: float | None
) -> None:
    longest_s = BACKOFF_CAP_S if failures > 10 else BACKOFF_S * 2 ** (failures - 1)
    waited_s = wait_s(failures, chance=chance, retry_after_s=asked_s)
    assert waited_s == max(longest_s * chance, asked_s or 0)


def test_the_longest_waits_are_these():
    assert [wait_s(n, chance=1) for n in range(1, 12)] == [5, 10, 20, 40, 80, 160, 320, 640, 1280, 2560, 3600]
