"""Calls that are likely to be hits are planned only once they were none: the guess never shows in an answer."""

from router.likely import MOST_KEYS, LikelyHits
from tests.router.gateways import a_call, open_gateway
from tests.upstream import scripted_upstream


def test_the_keys_that_were_asked_for_last_are_known():
    likely = LikelyHits()
    for number in range(MOST_KEYS + 1):
        likely.note(b"%d" % number, is_hit=True)
        likely.note(b"0", is_hit=True)
    assert b"0" in likely
    assert b"1" not in likely
    assert b"%d" % MOST_KEYS in likely
    likely.note(b"0", is_hit=False)
    assert b"0" not in likely


async def test_a_likely_hit_that_has_expired_is_asked_for_anew(tmp_path):
    async with scripted_upstream() as upstream, open_gateway(tmp_path, upstream, ttl_s=300) as house:
        caches = [(await house.ask(a_call("again"))).receipt.cache for _ in range(3)]
        await house.pass_time(301)
        caches += [(await house.ask(a_call("again"))).receipt.cache for _ in range(2)]
    assert caches == ["miss", "hit", "hit", "miss", "hit"]
    assert len(upstream.requests) == 2


async def test_a_hit_is_answered_without_a_plan_and_leaves_the_others_their_turn(tmp_path):
    async with scripted_upstream() as upstream, open_gateway(tmp_path, upstream) as house:
        for _ in range(2):
            await house.ask(a_call("again"))
        asked = await house.gateway._planner.ask(a_call("again"), captures_content=False)
        assert (asked.candidates, asked.is_planned) == ((), False)
        asked = await house.gateway._planner.ask(a_call("again"), captures_content=False, keeps_refusal=True)
        assert asked.candidates
