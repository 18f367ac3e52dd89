"""Many faults among few successes open a breaker too, but never the last closed one of a route."""

from hypothesis import given
from hypothesis import strategies as st

from router.breaker import BreakerEvent, BreakerRule, BreakerState
from router.deployments import Route
from router.health import Health
from router.recent import SPAN_S, STEP_S, Recent
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
