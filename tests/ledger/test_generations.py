"""Calls one by one: pages of them, and one call's arithmetic from tokens to dollars."""

from functools import partial

import msgspec
import pytest

from ledger.ceilings import Ceiling
from ledger.chain import Line
from ledger.operations.postings import post
from ledger.prices import Price, Tier
from ledger.reports import GenerationsQuery, UnknownPage
from ledger.usage import Usage
from ledger.values import Bid
from tests.ledger.calls import BEGAN_MS, a_call, a_ledger, admit_and_settle, an_ending

USAGE = Usage(input_tokens=200, cached_tokens=50, output_tokens=10, reasoning_tokens=5)
PRICE = Price(
    version="v1",
    base=Tier(input=150_000_000, output=600_000_000),
    tiers=((100, Tier(input=300_000_001, cached_input=75_000_000, output=600_000_000, reasoning=700_000_000)),),
    per_request_nanousd=7,
)
COST = 60_001 + 3_750 + 6_000 + 3_500 + 7


async def test_a_line_is_explained_from_tokens_to_dollars(home):
    async with a_ledger(home) as ledger:
        bid = Bid(deployment="p:m", held_nanousd=90_000, price_version="v1", price=PRICE)
        request = a_call(bids=(bid,))
        lead = await admit_and_settle(ledger, request, cost=COST, usage=USAGE)
        line = Line(
            hold_id=lead.hold_id,
            kind="correction",
            cost_nanousd=-100,
            cost_basis="provider_reported",
            usage=None,
            price_version="v1",
            posted_at_ms=BEGAN_MS,
            reason="the invoice says so",
        )
        await ledger._store.write(partial(post, line=line))
        story = await ledger.generation(request.facts.generation_id)
    (attempt,) = story["attempts"]
    settled, corrected = attempt["postings"]
    assert settled["arithmetic"] == {
        "tier_above_prompt_tokens": 100,
        "charges": [
            {"of": "input", "tokens": 200, "usd_per_mtok": "0.300000001", "cost_nanousd": 60_001},
            {"of": "cached input", "tokens": 50, "usd_per_mtok": "0.075000000", "cost_nanousd": 3_750},
            {"of": "output", "tokens": 10, "usd_per_mtok": "0.600000000", "cost_nanousd": 6_000},
            {"of": "reasoning", "tokens": 5, "usd_per_mtok": "0.700000000", "cost_nanousd": 3_500},
            {"of": "request", "tokens": None, "usd_per_mtok": None, "cost_nanousd": 7},
        ],
        "cost_nanousd": COST,
    }
    assert (corrected["arithmetic"], corrected["reason"]) == (None, "the invoice says so")
    assert attempt["cost_nanousd"] == story["cost_nanousd"] == COST - 100


async def test_a_price_that_is_not_on_record_has_no_arithmetic(home):
    async with a_ledger(home) as ledger:
        request = a_call()
        await admit_and_settle(ledger, request)
        story = await ledger.generation(request.facts.generation_id)
    assert story["attempts"][0]["postings"][0]["arithmetic"] is None


async def test_a_story_tells_under_which_ceilings_each_attempt_took_room(home):
    ceilings = (Ceiling(scope="user:u1", window="day", limit=5000), Ceiling(scope="global", window="month", limit=5000))
    async with a_ledger(home, ceilings=ceilings) as ledger:
        request = a_call()
        await admit_and_settle(ledger, request)
        story = await ledger.generation(request.facts.generation_id)
    assert story["attempts"][0]["ceilings"] == ["day user:u1", "month global"]


async def test_a_story_takes_no_attempt_of_a_call_of_a_like_name(home):
    async with a_ledger(home) as ledger:
        for name in ("gen_a", "gen_a.1", "gen_a/", "gen_ab"):
            await admit_and_settle(ledger, a_call(generation_id=name))
        for name in ("gen_a", "gen_a.1", "gen_a/", "gen_ab"):
            story = await ledger.generation(name)
            (attempt,) = story["attempts"]
            assert (attempt["hold_id"], len(attempt["postings"])) == (f"{name}.1", 1)


async def test_pages_follow_each_other_from_the_newest_without_a_gap(home):
    async with a_ledger(home) as ledger:
        names = []
        for number in range(7):
            request = a_call(now_ms=BEGAN_MS + number // 3)
            await admit_and_settle(ledger, request)
            names.append((request.now_ms, request.facts.generation_id))
        seen, before = [], None
        while True:
            page = await ledger.generations(GenerationsQuery(limit=2, before=before))
            seen += [story["id"] for story in page["generations"]]
            before = page["next"]
            if before is None:
                break
        assert seen == [name for _, name in sorted(names, reverse=True)]
        whole = await ledger.generation(seen[0])
        for attempt in whole["attempts"]:
            del attempt["postings"]
        assert (await ledger.generations(GenerationsQuery(limit=1)))["generations"] == [whole]
        with pytest.raises(UnknownPage):
            await ledger.generations(GenerationsQuery(before="gen_1"))


async def test_calls_are_found_by_every_dimension_of_the_spend_report(home):
    async with a_ledger(home) as ledger:
        wanted = a_call(now_ms=BEGAN_MS)
        who = {"key": "k", "team": "t", "user": "u", "workflow": "w2", "run": "r"}
        facts = msgspec.structs.replace(wanted.facts, attribution=who, route="other")
        ending = an_ending(wanted, outcome="aborted", deployment="q:x")
        await ledger.record_follower(facts, msgspec.structs.replace(ending, cost_basis="free"), leader_id="gen_l")
        other = a_call(now_ms=BEGAN_MS - 40 * 86_400_000)
        await admit_and_settle(ledger, other)
        filters = {
            **who,
            "route": "other",
            "model": "q:x",
            "provider": "q",
            "basis": "free",
            "outcome": "aborted",
            "hour": "2026-11-18T11:00:00Z",
            "day": "2026-11-18",
            "month": "2026-11",
        }
        for name, value in filters.items():
            page = await ledger.generations(GenerationsQuery(filters={name: value}))
            assert [story["id"] for story in page["generations"]] == [facts.generation_id], name
        page = await ledger.generations(GenerationsQuery(until_ms=BEGAN_MS))
        assert [story["id"] for story in page["generations"]] == [other.facts.generation_id]
