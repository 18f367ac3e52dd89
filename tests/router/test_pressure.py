"""Nearly full ceilings: their callers go to cheaper targets first, and back in the next window."""

from pathlib import Path

import pytest

from ledger.ceilings import Ceiling, window_span
from ledger.errors import CeilingExceeded
from ledger.prices import FREE
from ledger.prices.price import Price, Tier
from ledger.values import Pressure
from router.deployments import Deployment
from router.pressure import MOST_REMEMBERED, Pressures
from tests.router.gateways import PRICE, House, a_call, a_deployment, end_of, open_gateway
from tests.upstream import ScriptedUpstream, answer, scripted_upstream

CHEAP = Price(version="cheap", base=Tier(input=PRICE.base.input // 10, output=PRICE.base.output // 10))
# 50 words written, at the price of `dear`.
COST_NANOUSD = 50 * 400


def targets(upstream: ScriptedUpstream) -> tuple[Deployment, ...]:
    """The first one dear, then one as dear, one cheap, and one free."""
    prices = {"dear": PRICE, "same": PRICE, "cheap": CHEAP, "free": FREE}
    return tuple(a_deployment(name, upstream.url, price=price) for name, price in prices.items())


async def spend(house: House, upstream: ScriptedUpstream, text: str, **call: str) -> str:
    """Who answers a call that costs COST_NANOUSD at the dear one."""
    upstream.plays(answer("words", prompt_tokens=0, completion_tokens=50))
    return (await house.ask(a_call(text, **call))).receipt.provider


async def next_minute(house: House) -> None:
    """Let the windows of this minute end."""
    ends_at_ms = window_span("minute", house.clock.now_ms()).ends_at_ms
    assert ends_at_ms is not None
    await house.pass_time((ends_at_ms - house.clock.now_ms()) / 1000 + 0.01)


@pytest.mark.parametrize("scope", ["global", "model:dear:model-dear", "user:*"])
async def test_a_route_goes_to_its_cheaper_targets_while_a_ceiling_is_nearly_full(tmp_path: Path, scope: str):
    ceiling = Ceiling(scope=scope, window="minute", limit=10 * COST_NANOUSD, downgrade_at=0.2)
    async with (
        scripted_upstream() as upstream,
        open_gateway(tmp_path, targets=targets(upstream), ceilings=(ceiling,)) as house,
    ):
        await next_minute(house)
        assert [await spend(house, upstream, f"call {n}", user="u") for n in range(4)] == [
            "dear",
            # Its hold passes the share, but what was spent before did not.
            "dear",
            "free",
            "free",
        ]
        await next_minute(house)
        assert await spend(house, upstream, "the next minute", user="u") == "dear"


async def test_what_is_only_held_presses_no_longer_than_it_is_held(tmp_path: Path):
    ceiling = Ceiling(scope="global", window="total", limit=10**9, downgrade_at=0.00002)
    async with (
        scripted_upstream() as upstream,
        open_gateway(tmp_path, targets=targets(upstream), ceilings=(ceiling,)) as house,
    ):
        upstream.plays(answer("one", prompt_tokens=1, completion_tokens=1))
        reply = await house.gateway.generate(a_call("holds more than the share"))
        assert (await house.ask(a_call("meanwhile"))).receipt.provider == "free"
        await end_of(reply, stream=False)
        await house.pass_time(6)
        assert (await house.ask(a_call("later"))).receipt.provider == "dear"


async def test_the_trace_says_which_ceiling_moved_a_call(tmp_path: Path):
    ceiling = Ceiling(scope="user:*", window="total", limit=10 * COST_NANOUSD, downgrade_at=0.1)
    async with (
        scripted_upstream() as upstream,
        open_gateway(tmp_path, targets=targets(upstream)[:3], ceilings=(ceiling,)) as house,
    ):
        assert await spend(house, upstream, "first", user="u") == "dear"
        moved = await house.gateway.generate(a_call("second", user="u"))
        assert (await end_of(moved, stream=False)).receipt.provider == "cheap"
        (admitted,) = [facts for name, _, facts in moved.chat_facts().events if name == "farthing.admit"]
        assert admitted["farthing.downgraded_by"] == "total user:u"
        # Someone else's ceiling is not full.
        other = await house.gateway.generate(a_call("third", user="v"))
        assert (await end_of(other, stream=False)).receipt.provider == "dear"
        assert all("farthing.downgraded_by" not in facts for _, _, facts in other.chat_facts().events)


async def test_at_a_full_ceiling_free_ones_go_on_and_others_are_refused(tmp_path: Path):
    ceiling = Ceiling(scope="global", window="total", limit=COST_NANOUSD // 100, downgrade_at=0.9)
    async with scripted_upstream() as upstream:
        four = targets(upstream)
        async with open_gateway(tmp_path, targets=four, ceilings=(ceiling,)) as house:
            assert await spend(house, upstream, "does not fit") == "free"
    async with scripted_upstream() as upstream:
        (tmp_path / "other").mkdir()
        async with open_gateway(tmp_path / "other", targets=four[:3], ceilings=(ceiling,)) as house:
            with pytest.raises(CeilingExceeded):
                await house.ask(a_call("does not fit"))


def a_pressure(name: str = "u", *, until_ms: int = 100, limit_nanousd: int = 5) -> Pressure:
    return Pressure(ceiling_id=f"day user:{name}", limit=limit_nanousd, until_ms=until_ms)


def test_the_last_word_on_a_ceiling_counts_until_its_time_or_a_new_limit():
    of_user = Ceiling(scope="user:u", window="day", limit=5, downgrade_at=0.9)
    raised = Ceiling(scope="user:u", window="day", limit=6, downgrade_at=0.9)
    without = Ceiling(scope="user:u", window="day", limit=5)
    pressures = Pressures()
    pressures.note([a_pressure()])
    assert pressures.first_of([of_user], 99) == of_user.id
    assert [pressures.first_of([other], now_ms) for other, now_ms in ((of_user, 100), (raised, 0), (without, 0))] == [
        *("", "", "")
    ]
    pressures.note([a_pressure(until_ms=0)])
    assert pressures.are_none


def test_no_more_than_so_many_are_remembered_and_the_oldest_go_first():
    pressures = Pressures()
    pressures.note(a_pressure(str(number)) for number in range(MOST_REMEMBERED + 2))
    ceilings = [
        Ceiling(scope=f"user:{number}", window="day", limit=5, downgrade_at=0.9)
        for number in (0, 1, 2, MOST_REMEMBERED + 1)
    ]
    assert [bool(pressures.first_of([it], 0)) for it in ceilings] == [False, False, True, True]
