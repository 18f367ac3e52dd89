"""Strategies: who is asked first, by weight, speed or cost; and everybody else after."""

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from router.speed import ANSWERS_THAT_COUNT, HALF_LIFE_S, SPAN_S, Speeds
from router.strategy import by_least, cheaper_first, fastest, weighted

NAMES = st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=8, unique=True)
WEIGHTS = st.dictionaries(st.sampled_from("abcdefgh"), st.integers(1, 1000), min_size=1)
AMOUNTS = st.dictionaries(st.sampled_from("abcdefgh"), st.floats(0, 100))


@given(WEIGHTS, st.integers(1, 300))
def test_nobody_is_ever_a_whole_call_away_from_its_weights_share(weights: dict[str, int], calls: int):
    owed: dict[str, float] = {}
    asked = dict.fromkeys(weights, 0)
    for call in range(1, calls + 1):
        order, owed = weighted(owed, weights)
        asked[order[0]] += 1
        for name, weight in weights.items():
            assert abs(asked[name] - call * weight / sum(weights.values())) < 1 + 1e-6


def test_equal_weights_take_turns():
    owed: dict[str, float] = {}
    firsts = []
    for _ in range(6):
        order, owed = weighted(owed, {"a": 1, "b": 1, "c": 1})
        firsts.append(order[0])
    assert "".join(firsts) == "abcabc"


def test_shares_follow_weights_that_change_on_the_way():
    owed: dict[str, float] = {}
    for _ in range(50):
        _, owed = weighted(owed, {"a": 3, "b": 1})
    firsts = []
    for _ in range(40):
        order, owed = weighted(owed, {"a": 1, "b": 1})
        firsts.append(order[0])
    assert abs(firsts.count("a") - 20) <= 1


@given(NAMES, AMOUNTS, st.randoms(use_true_random=False))
def test_every_order_has_all_of_them_once(names: list[str], amounts: dict[str, float], chance: random.Random):
    held = {name: round(amounts.get(name, 0)) for name in names}
    weights = {name: amounts.get(name, 0) + 1 for name in names}
    for order in (
        weighted(amounts, weights)[0],
        fastest(names, amounts, chance),
        by_least(names, amounts),
        cheaper_first(names, held),
    ):
        assert sorted(order) == sorted(names)


@given(NAMES, AMOUNTS, st.randoms(use_true_random=False))
def test_of_several_the_slowest_is_never_asked_first(
    names: list[str], amounts: dict[str, float], chance: random.Random
):
    expected = {name: amounts.get(name, 0.0) for name in names}
    first = fastest(names, expected, chance)[0]
    slower = [name for name in names if expected[name] >= expected[first] and name != first]
    assert slower or len(names) == 1


def test_the_same_chance_gives_the_same_order():
    orders = [fastest("abcdef", {"a": 1.0}, random.Random(7)) for _ in range(2)]
    assert orders[0] == orders[1]


@given(NAMES, st.dictionaries(st.sampled_from("abcdefgh"), st.integers(0, 9)))
def test_the_cheaper_come_first_by_price_and_the_others_stay(names: list[str], prices: dict[str, int]):
    held = {name: prices.get(name, 5) for name in names}
    order = cheaper_first(names, held)
    cheaper = order[: order.index(names[0])]
    assert all(held[name] < held[names[0]] for name in cheaper)
    assert [held[name] for name in cheaper] == sorted(held[name] for name in cheaper)
    assert order[len(cheaper) :] == [name for name in names if name not in cheaper]
    assert all(held[name] >= held[names[0]] for name in order[len(cheaper) :])


class Watch:
    """A clock that tests put forward."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


@settings(max_examples=25)
@given(st.dictionaries(st.sampled_from("abcd"), st.floats(0.01, 60), min_size=2), st.integers(0, 100))
def test_the_fastest_is_asked_most_and_the_slowest_again_and_again(takes_s: dict[str, float], seed: int):
    watch, chance = Watch(), random.Random(seed)
    speeds = Speeds(now_s=watch)
    asked: dict[str, list[float]] = {name: [] for name in takes_s}
    for _ in range(1500):
        expected = {name: speeds.expected_s(name, is_streamed=True) for name in takes_s}
        first = fastest(list(takes_s), expected, chance)[0]
        asked[first].append(watch.now_s)
        speeds.asked(first, is_streamed=True)
        speeds.answered(first, takes_s[first], is_streamed=True, allowed_tokens=None)
        watch.now_s += 3.0
    # 60 s are 6,000 times 10 ms: less than thirteen half-lives.
    again = 13 * HALF_LIFE_S + 3.0 * 100
    for times in asked.values():
        assert times
        assert all(later - sooner < again for sooner, later in zip(times, [*times[1:], watch.now_s], strict=True))


def test_one_that_is_tried_again_is_tried_by_one_call_until_it_answers():
    watch = Watch()
    speeds = Speeds(now_s=watch)
    assert speeds.expected_s("a", is_streamed=False) == 0
    speeds.asked("a", is_streamed=False)
    assert speeds.expected_s("a", is_streamed=False) > 0
    speeds.answered("a", 8.0, is_streamed=False, allowed_tokens=None)
    watch.now_s += 10 * HALF_LIFE_S
    assert speeds.expected_s("a", is_streamed=False) < 0.01
    speeds.asked("a", is_streamed=False)
    assert speeds.expected_s("a", is_streamed=False) == 8.0
    speeds.answered("a", 2.0, is_streamed=False, allowed_tokens=None)
    assert 2.0 < speeds.expected_s("a", is_streamed=False) < 8.0
    assert speeds.expected_s("a", is_streamed=True) == 0


def test_one_that_was_waited_for_in_vain_is_not_the_fast_one_that_it_was():
    speeds = Speeds(now_s=Watch())
    speeds.answered("a", 1.0, is_streamed=True, allowed_tokens=None)
    speeds.kept_waiting("a", 0.5, is_streamed=True)
    assert speeds.expected_s("a", is_streamed=True) == 1.0
    speeds.kept_waiting("a", 30.0, is_streamed=True)
    assert speeds.expected_s("a", is_streamed=True) > 5.0


@given(st.lists(st.floats(0.001, 100), min_size=ANSWERS_THAT_COUNT, max_size=60))
def test_the_fastest_known_answer_is_the_least_of_enough_recent_ones(took_s: list[float]):
    watch = Watch()
    speeds = Speeds(now_s=watch)
    for count, one_s in enumerate(took_s, start=1):
        speeds.answered("a", one_s, is_streamed=False, allowed_tokens=100)
        least_s = min(took_s[:count])
        is_known = count >= ANSWERS_THAT_COUNT
        assert is_too_slow(speeds, least_s * 0.99) is is_known
        assert not is_too_slow(speeds, least_s)
        watch.now_s += 1.0
    # Of shorter answers nothing is known, of longer ones as much.
    assert not is_too_slow(speeds, 0.0, allowed_tokens=10)
    assert is_too_slow(speeds, 0.0, allowed_tokens=None)
    assert not is_too_slow(speeds, 0.0, is_streamed=True)
    watch.now_s += SPAN_S + 60
    assert not is_too_slow(speeds, 0.0)


def is_too_slow(speeds: Speeds, left_s: float, *, is_streamed: bool = False, allowed_tokens: int | None = 100) -> bool:
    return speeds.is_too_slow("a", left_s, is_streamed=is_streamed, allowed_tokens=allowed_tokens)
