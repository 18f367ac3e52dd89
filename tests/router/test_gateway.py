"""One call through the whole router: answered, stored, shared; and what the ledger has of it."""

import asyncio
from pathlib import Path

from router.bounds import input_bound_tokens
from tests.router.gateways import READ_NANOUSD, WRITTEN_NANOUSD, a_call, open_gateway, text_of
from tests.upstream import answer, scripted_upstream


async def test_a_call_is_answered_charged_and_the_same_call_is_then_a_hit(tmp_path: Path):
    async with scripted_upstream() as upstream, open_gateway(tmp_path, upstream) as house:
        upstream.plays(answer("one two three", prompt_tokens=7))
        first, second = a_call(), a_call()
        missed, hit = await house.ask(first), await house.ask(second)

        cost_nanousd = 7 * READ_NANOUSD + 3 * WRITTEN_NANOUSD
        assert text_of(missed) == text_of(hit) == "one two three"
        assert (missed.receipt.cache, missed.receipt.cost_nanousd, missed.receipt.saved_nanousd) == (
            "miss",
            cost_nanousd,
            0,
        )
        assert (hit.receipt.cache, hit.receipt.cost_nanousd, hit.receipt.saved_nanousd) == ("hit", 0, cost_nanousd)
        assert hit.receipt.attempts == ()
        assert len(upstream.requests) == 1
        (hold,) = house.holds(first.generation_id)
        bound_nanousd = input_bound_tokens(first.body, None) * READ_NANOUSD + 50 * WRITTEN_NANOUSD
        assert hold["held_nanousd"] == bound_nanousd
        assert (hold["state"], hold["cost_nanousd"], hold["cost_basis"]) == ("settled", cost_nanousd, "priced_usage")
        assert house.holds(second.generation_id) == []
        row = house.generation(second.generation_id)
        assert (row["cache"], row["served_by"], row["saved_nanousd"]) == ("hit", first.generation_id, cost_nanousd)


async def test_60_equal_calls_half_of_them_streaming_make_one_request_and_one_posting(tmp_path: Path):
    async with scripted_upstream() as upstream, open_gateway(tmp_path, upstream) as house:
        gate = asyncio.Event()
        upstream.default = answer("the same words for all", gate=gate)
        calls = [a_call("equal", stream=number % 2 == 1) for number in range(60)]
        asking = [asyncio.create_task(house.ask(call)) for call in calls]
        await upstream.until(lambda it: len(it.requests) == 1)
        gate.set()
        heard = await asyncio.gather(*asking)

        assert {text_of(finished) for finished in heard} == {"the same words for all"}
        assert len(upstream.requests) == house.count("postings") == 1
        followers = [finished.receipt for finished in heard if finished.receipt.cache == "coalesced"]
        assert len(followers) == 59
        (leader,) = (finished.receipt for finished in heard if finished.receipt.cache == "miss")
        assert {(it.cost_nanousd, it.saved_nanousd, it.attempts) for it in followers} == {(0, leader.cost_nanousd, ())}
        rows = house.rows("SELECT cache, COUNT(*) AS n FROM generations GROUP BY cache ORDER BY cache")
        assert [tuple(row.values()) for row in rows] == [("coalesced", 59), ("miss", 1)]
