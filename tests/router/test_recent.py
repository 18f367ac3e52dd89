"""Many faults among few successes open a breaker, but never the last closed one of a route; what is usual of late."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.breaker import BreakerEvent, BreakerRule, BreakerState
from router.deployments import Route
from router.health import Health
from router.recent import SPAN_S, SPANS_THAT_COUNT, STEP_S, USUAL_SPAN_S, Recent, Usual
from tests.router.gateways import a_deployment

RULE = BreakerRule(threshold=3, cooldown_s=60.0)


def test_half_of_twenty_is_failing_and_less_is_not():
    recent = Recent()
    for number in range(20):
        assert not recent.is_failing(0.0)
        recent.add(0.0, is_fault=number % 2 == 0)
    assert recent.is_failing(0.0)
    recent.add(0.0, is_fault=False)
    assert not recent.is_failing(0.0)


def test_what_is_long_ago_is_forgotten():
    recent = Recent()
    for _ in range(20):
        recent.add(0.0, is_fault=True)
    assert recent.is_failing(SPAN_S - 0.001)
    assert not recent.is_failing(SPAN_S)


@given(st.lists(st.tuples(st.floats(0, 5), st.booleans()), max_size=120))
def test_it_looks_back_on_all_of_the_last_calls_but_those_near_the_edge(calls):
    recent, now_s, history = Recent(), 0.0, []
    for pause_s, is_fault in calls:
        now_s += pause_s
        recent.add(now_s, is_fault=is_fault)
        history.append((now_s, is_fault))
    sure = [fault for at_s, fault in history if at_s > now_s - SPAN_S + STEP_S]
    edge = [fault for at_s, fault in history if now_s - SPAN_S < at_s <= now_s - SPAN_S + STEP_S]
    if len(sure) >= 20 and sum(sure) >= 0.5 * (len(sure) + len(edge)):
        assert recent.is_failing(now_s)
    if len(sure) + len(edge) < 20 or sum(sure) + sum(edge) < 0.5 * len(sure):
        assert not recent.is_failing(now_s)


def a_health(*routes: tuple[str, ...]) -> Health:
    found = tuple(
        Route(name="".join(route), targets=tuple(a_deployment(name, "http://x") for name in route)) for route in routes
    )
    return Health(RULE, now_s=lambda: 0.0, now_ms=lambda: 0, routes=lambda: found)


def flood(health: Health, name: str) -> BreakerState:
    """Every third call fares well, so that no three faults come in a row."""
    for number in range(30):
        health.record(f"{name}:model-{name}", BreakerEvent.SUCCESS if number % 3 == 2 else BreakerEvent.FAULT)
    return health.breaker(f"{name}:model-{name}").state


def test_a_flood_opens_one_of_two_and_then_spares_the_other():
    health = a_health(("a", "b"))
    assert flood(health, "a") == BreakerState.OPEN
    assert flood(health, "b") == BreakerState.CLOSED, "it is the last one"
    for _ in range(3):
        health.record("b:model-b", BreakerEvent.FAULT)
    assert health.breaker("b:model-b").state == BreakerState.OPEN, "but faults in a row are an outage"


def test_the_only_one_of_a_route_is_spared_whatever_other_routes_have():
    assert flood(a_health(("a", "b"), ("a",)), "a") == BreakerState.CLOSED
    assert flood(a_health(("b", "c")), "a") == BreakerState.CLOSED
    assert flood(a_health(("a", "b"), ("c", "a")), "a") == BreakerState.OPEN


def test_what_is_usual_is_of_late_and_a_few_say_nothing():
    usual = Usual(0.0)
    for _ in range(SPANS_THAT_COUNT - 1):
        usual.add(900_000, 1.0)
    assert usual.quantile_s(0.95, 1.0) is None
    usual.add(900_000, 1.0)
    assert usual.quantile_s(0.95, 1.0) == pytest.approx(0.9, rel=0.02)
    # Still known in the next span, forgotten in the one after: then it is worth a try.
    assert usual.quantile_s(0.95, USUAL_SPAN_S + 1) == pytest.approx(0.9, rel=0.02)
    assert usual.quantile_s(0.95, 2 * USUAL_SPAN_S + 1) is None
    for _ in range(SPANS_THAT_COUNT):
        usual.add(100_000, 2 * USUAL_SPAN_S + 2)
    assert usual.quantile_s(0.95, 2 * USUAL_SPAN_S + 3) == pytest.approx(0.1, rel=0.02)
    assert usual.quantile_s(0.95, 50 * USUAL_SPAN_S) is None


@given(st.lists(st.tuples(st.integers(1, 10**7), st.floats(0, 200, allow_nan=False)), max_size=80))
def test_a_quantile_is_of_the_spans_that_are_remembered(steps):
    usual, now_s = Usual(0.0), 0.0
    added = []
    for us, pause_s in steps:
        now_s += pause_s
        usual.add(us, now_s)
        added.append((us, int(now_s // USUAL_SPAN_S)))
    remembered = sorted(us for us, span in added if span >= int(now_s // USUAL_SPAN_S) - 1)
    found = usual.quantile_s(0.95, now_s)
    if len(remembered) < SPANS_THAT_COUNT:
        assert found is None
    else:
        exact_s = remembered[max(0, -(-95 * len(remembered) // 100) - 1)] / 1_000_000
        assert found == pytest.approx(exact_s, rel=0.02, abs=1e-6)
