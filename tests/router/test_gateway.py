"""One call through the whole router: answered, stored, shared; and what the ledger has of it."""

import asyncio
from pathlib import Path

import pytest

from ledger.ceilings import Ceiling
from router.answer import Delta
from router.bounds import input_bound_tokens
from router.call import CacheMode, Call
from router.errors import (
    DeadlineExceeded,
    MaxCostExceeded,
    NotCached,
    Overloaded,
    UnboundedCost,
    UnknownModel,
    UnpricedModel,
)
from telemetry.metrics.instruments import CHUNK_GAP
from tests.router.gateways import (
    READ_NANOUSD,
    WRITTEN_NANOUSD,
    a_call,
    a_deployment,
    closed_at_the_end,
    end_of,
    hear,
    note,
    open_gateway,
    text_of,
)
from tests.upstream import answer, hang, scripted_upstream, stream


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


async def test_the_leaders_leaving_does_not_disturb_the_other_59(tmp_path: Path):
    async with scripted_upstream() as upstream, open_gateway(tmp_path, upstream) as house:
        gate = asyncio.Event()
        upstream.default = stream(["some ", gate, "words"])
        leader = await house.gateway.generate(a_call(stream=True))
        followers = [await house.gateway.generate(a_call(stream=number % 2 == 1)) for number in range(59)]
        hearing = [asyncio.create_task(end_of(it, stream=number % 2 == 1)) for number, it in enumerate(followers)]
        events = leader.events()
        assert isinstance(first := await anext(events), Delta)
        assert first.text == "some "
        await events.aclose()
        await leader.aclose()
        gate.set()
        heard = await asyncio.gather(*hearing)
        assert {text_of(finished) for finished in heard} == {"some words"}
        assert {finished.receipt.cache for finished in heard} == {"coalesced"}
        assert len(upstream.requests) == house.count("postings") == 1


@pytest.mark.parametrize("leaves_after", ["three words", "nothing"])
async def test_the_last_listeners_leaving_closes_the_connection_charges_what_came_and_stores_nothing(
    tmp_path: Path, leaves_after: str
):
    async with scripted_upstream() as upstream, open_gateway(tmp_path, upstream) as house:
        words = ["one ", "two ", "three "] if leaves_after == "three words" else []
        upstream.plays(stream(words, then="hang"))
        call = a_call(stream=True)
        leader, follower = await house.gateway.generate(call), await house.gateway.generate(a_call(stream=True))
        await upstream.until(lambda it: len(it.requests) == 1)
        for reply in (leader, follower):
            events = reply.events()
            for word in words:
                assert isinstance(delta := await anext(events), Delta)
                assert delta.text == word
            await events.aclose()
            assert not upstream.requests[0].closed
            await reply.aclose()
        await upstream.closed(upstream.requests[0], within_s=1)
        await house.gateway.aclose()

        (hold,) = house.holds(call.generation_id)
        estimated = house.generation(call.generation_id)["estimated_prompt_tokens"]
        assert (hold["outcome"], hold["error"], hold["cost_basis"]) == ("aborted", "the caller left", "estimated")
        written = hold["cost_nanousd"] - estimated * READ_NANOUSD
        assert 3 * WRITTEN_NANOUSD <= written <= 4 * WRITTEN_NANOUSD if words else written == 0
        assert house.count("responses") == 0
        assert house.generation(call.generation_id)["error_code"] is None


async def test_whoever_comes_while_an_abandoned_flight_ends_gets_an_answer_of_its_own(tmp_path: Path):
    async with scripted_upstream() as upstream, open_gateway(tmp_path, upstream) as house:
        upstream.plays(stream(["half an "], then="hang"), answer("whole answer"))
        leader = await house.gateway.generate(a_call(stream=True))
        events = leader.events()
        await anext(events)
        # Its admission is asked for while the leader still leads, and granted after it left.
        late = asyncio.create_task(house.ask(a_call(stream=True)))
        await asyncio.sleep(0)
        await events.aclose()
        await leader.aclose()
        assert text_of(await late) == "whole answer"
        assert text_of(await house.ask(a_call(stream=True))) == "whole answer"
        assert len(upstream.requests) == 2


async def test_times_from_chunk_to_chunk_are_counted_of_streams_that_answered(tmp_path: Path):
    async with scripted_upstream() as upstream, open_gateway(tmp_path, upstream) as house:

        def gaps() -> tuple[float, ...]:
            return next((it.numbers for it in house.recorder.tally.readings() if it.instrument is CHUNK_GAP), ())

        await house.ask(a_call("whole"))
        assert not any(gaps())
        upstream.plays(stream(["one ", "two ", "three"]))
        await house.ask(a_call("streamed", stream=True))
        assert sum(gaps()[:-1]) >= 2


async def test_a_caller_who_leaves_while_the_ledger_is_asked_sends_nothing_and_holds_nothing(tmp_path: Path):
    async with scripted_upstream() as upstream, open_gateway(tmp_path, upstream) as house:
        # A free connection would take a request without a pause.
        await house.ask(a_call("warm"))
        calls = [a_call(f"call {number}", stream=number % 2 == 1) for number in range(8)]
        left: list[Call] = []
        # From before the ledger is asked to when it has answered, which on some machines is sooner than on others.
        for turns, call in enumerate(calls):
            asking = asyncio.create_task(house.gateway.generate(call))
            for _ in range(turns):
                await asyncio.sleep(0)
            if asking.done():
                await (await asking).aclose()
            else:
                left.append(call)
            asking.cancel()
            await asyncio.wait([asking])
        await house.at_rest()
        assert left
        assert len(upstream.requests) <= 1 + len(calls) - len(left)
        states = {hold["state"] for call in left for hold in house.holds(call.generation_id)}
        assert states <= {"released"}


async def test_a_hit_whose_caller_leaves_while_it_is_admitted_is_counted_as_the_ledger_has_it(tmp_path: Path):
    async with scripted_upstream() as upstream, open_gateway(tmp_path, upstream) as house:
        await house.ask(a_call())
        for turns in range(6):
            asking = asyncio.create_task(house.gateway.generate(a_call()))
            for _ in range(turns):
                await asyncio.sleep(0)
            asking.cancel()
            await asyncio.wait([asking])
        await house.gateway.aclose()
        assert house.counted()["cache_hits"] == (await house.reported())["cache_hits"] > 0


async def test_a_leader_who_leaves_while_it_is_admitted_passes_the_lead_on_once(tmp_path: Path):
    async with scripted_upstream() as upstream, open_gateway(tmp_path, upstream) as house:
        leaving = asyncio.create_task(house.gateway.generate(a_call()))
        asking = [asyncio.create_task(house.ask(a_call())) for _ in range(20)]
        await asyncio.sleep(0)
        leaving.cancel()
        heard = await asyncio.gather(*asking)
        assert len(upstream.requests) == house.count("postings") == 1
        assert max(finished.receipt.cache for finished in heard) == "miss"


async def test_a_leader_who_leaves_before_any_output_leaves_the_flight_to_its_followers(tmp_path: Path):
    async with scripted_upstream() as upstream, open_gateway(tmp_path, upstream) as house:
        gate = asyncio.Event()
        upstream.default = answer("for the follower", gate=gate)
        leader = await house.gateway.generate(a_call())
        follower = await house.gateway.generate(a_call(stream=True))
        await leader.aclose()
        gate.set()
        async with closed_at_the_end(follower):
            _, finished = await hear(follower)
        assert (text_of(finished), finished.receipt.cache) == ("for the follower", "coalesced")
        assert len(upstream.requests) == 1


async def test_stopping_tells_every_caller_and_settles_every_call(tmp_path: Path):
    async with scripted_upstream() as upstream:
        targets = (a_deployment("a", upstream.url, max_concurrency=3),)
        async with open_gateway(tmp_path, targets=targets) as house:
            upstream.default = stream(["some ", "words"], then="hang")
            streaming = [await house.gateway.generate(a_call(f"stream {number}", stream=True)) for number in range(2)]
            whole = await house.gateway.generate(a_call("whole"))
            follower = await house.gateway.generate(a_call("whole", stream=True))
            queued = await house.gateway.generate(a_call("queued"))
            await upstream.until(lambda it: len(it.requests) == 3)
            heard: list[list[Delta]] = [[], []]
            hearing = [asyncio.create_task(note(it, words)) for it, words in zip(streaming, heard, strict=True)]
            hearing += [asyncio.create_task(it.finished()) for it in (whole, follower, queued)]
            while min(map(len, heard)) < 2:
                await asyncio.sleep(0)
            house.gateway.stop()
            ends = await asyncio.gather(*hearing, return_exceptions=True)
            assert [type(end) for end in ends] == [Overloaded] * 5
            assert [[delta.text for delta in words] for words in heard] == [["some ", "words"]] * 2
            for reply in (*streaming, whole, follower, queued):
                await reply.aclose()
            await house.at_rest()
            states = house.rows("SELECT state, COUNT(*) AS n FROM holds GROUP BY state ORDER BY state")
            assert [tuple(row.values()) for row in states] == [("released", 1), ("settled", 3)]
            with pytest.raises(Overloaded):
                await house.gateway.generate(a_call("after"))


async def test_what_each_cache_mode_reads_writes_and_joins(tmp_path: Path):
    async with scripted_upstream() as upstream, open_gateway(tmp_path, upstream) as house:
        upstream.plays(*(answer(f"answer {number}") for number in range(1, 5)))

        async def ask(mode: CacheMode) -> tuple[str, str]:
            finished = await house.ask(a_call(mode=mode))
            return finished.receipt.cache, text_of(finished)

        with pytest.raises(NotCached):
            await ask("only")
        assert await ask("bypass") == ("bypass", "answer 1")
        assert await ask("use") == ("miss", "answer 2")
        assert await ask("use") == ("hit", "answer 2")
        assert await ask("only") == ("hit", "answer 2")
        assert await ask("bypass") == ("bypass", "answer 3")
        assert await ask("use") == ("hit", "answer 2")
        assert await ask("refresh") == ("miss", "answer 4")
        assert await ask("use") == ("hit", "answer 4")


async def test_only_calls_that_use_the_cache_share_a_flight(tmp_path: Path):
    async with scripted_upstream() as upstream, open_gateway(tmp_path, upstream) as house:
        gate = asyncio.Event()
        upstream.default = answer(gate=gate)
        modes: tuple[CacheMode, ...] = ("use", "use", "bypass", "refresh")
        asking = [asyncio.create_task(house.ask(a_call(mode=mode))) for mode in modes]
        await upstream.until(lambda it: len(it.requests) == 3)
        gate.set()
        heard = await asyncio.gather(*asking)
        assert [finished.receipt.cache for finished in heard] == ["miss", "coalesced", "bypass", "miss"]


async def test_an_answer_lives_for_its_ttl_and_with_none_is_not_stored(tmp_path: Path):
    async with scripted_upstream() as upstream, open_gateway(tmp_path, upstream, ttl_s=300) as house:
        await house.ask(a_call("never", ttl_s=0))
        assert (await house.ask(a_call("never", ttl_s=0))).receipt.cache == "miss"
        await house.ask(a_call("short", ttl_s=10))
        await house.ask(a_call("long"))
        await house.pass_time(11)
        assert (await house.ask(a_call("short"))).receipt.cache == "miss"
        assert (await house.ask(a_call("long"))).receipt.cache == "hit"
        await house.pass_time(290)
        assert (await house.ask(a_call("long"))).receipt.cache == "miss"


async def test_without_a_cache_equal_calls_still_share_a_flight_and_nothing_is_stored(tmp_path: Path):
    async with scripted_upstream() as upstream, open_gateway(tmp_path, upstream, cache_enabled=False) as house:
        gate = asyncio.Event()
        upstream.default = answer(gate=gate)
        asking = [asyncio.create_task(house.ask(a_call())) for _ in range(5)]
        await upstream.until(lambda it: len(it.requests) == 1)
        gate.set()
        heard = await asyncio.gather(*asking)
        assert sorted(finished.receipt.cache for finished in heard) == ["coalesced"] * 4 + ["miss"]
        assert (await house.ask(a_call())).receipt.cache == "miss"
        assert house.count("responses") == 0


async def test_a_routes_own_setting_beats_the_global_one(tmp_path: Path):
    async with scripted_upstream() as upstream, open_gateway(tmp_path, upstream, route_cache=False) as house:
        await house.ask(a_call())
        assert (await house.ask(a_call())).receipt.cache == "miss"


@pytest.mark.parametrize("is_stream", [False, True])
async def test_an_answer_that_a_content_filter_ended_is_not_stored(tmp_path: Path, is_stream: bool):
    async with scripted_upstream() as upstream, open_gateway(tmp_path, upstream) as house:
        upstream.plays(answer("half of", finish_reason="content_filter"), answer("cut at", finish_reason="length"))
        assert text_of(await house.ask(a_call(stream=is_stream))) == "half of"
        assert text_of(await house.ask(a_call(stream=is_stream))) == "cut at"
        assert (await house.ask(a_call())).receipt.cache == "hit"


async def test_an_answer_with_a_number_too_large_to_store_is_given_and_not_stored(tmp_path: Path):
    async with scripted_upstream() as upstream, open_gateway(tmp_path, upstream) as house:
        upstream.plays(answer("odd", top={"odd": 10**30}))
        finished = await house.ask(a_call())
        assert finished.answer.extra == {"odd": 10**30}
        assert house.count("responses") == 0
        assert (await house.ask(a_call())).receipt.cache == "miss"


async def test_a_stored_answer_that_cannot_be_read_is_a_miss_and_is_replaced(tmp_path: Path):
    async with scripted_upstream() as upstream, open_gateway(tmp_path, upstream) as house:
        await house.ask(a_call())
        house.write("UPDATE responses SET body = zeroblob(length(body))")
        assert (await house.ask(a_call())).receipt.cache == "miss"
        assert (await house.ask(a_call())).receipt.cache == "hit"


async def test_a_model_nobody_configured_is_refused_with_the_routes(tmp_path: Path):
    async with scripted_upstream() as upstream, open_gateway(tmp_path, upstream) as house:
        with pytest.raises(UnknownModel) as raised:
            await house.ask(a_call(model="unheard-of"))
        assert raised.value.routes == ("chat",)


async def test_a_call_that_could_cost_more_than_its_caller_allows_is_refused_but_may_be_a_hit(tmp_path: Path):
    async with scripted_upstream() as upstream, open_gateway(tmp_path, upstream) as house:
        with pytest.raises(MaxCostExceeded):
            await house.ask(a_call(max_cost_nanousd=1))
        await house.ask(a_call())
        assert (await house.ask(a_call(max_cost_nanousd=1))).receipt.cache == "hit"
        assert len(upstream.requests) == 1


async def test_a_cost_that_nothing_bounds_is_refused_only_where_a_limit_applies(tmp_path: Path):
    body = {"web_search_options": {}}
    limit = (Ceiling(scope="provider:a", window="day", limit=10**12),)
    async with scripted_upstream() as upstream:
        (tmp_path / "limited").mkdir()
        async with open_gateway(tmp_path, targets=(a_deployment("a", upstream.url),)) as house:
            await house.ask(a_call(body=body))
            with pytest.raises(UnboundedCost) as raised:
                await house.ask(a_call("other", body=body, max_cost_nanousd=10**12))
            assert raised.value.field == "web_search_options"
        async with open_gateway(tmp_path / "limited", upstream, ceilings=limit) as house:
            assert (await house.ask(a_call(body=body))).receipt.provider == "b"


async def test_unpriced_deployments_are_passed_over_and_refused_only_if_none_is_left(tmp_path: Path):
    async with scripted_upstream() as upstream:
        unpriced, priced = a_deployment("a", upstream.url, price=None), a_deployment("b", upstream.url)
        (tmp_path / "none").mkdir()
        async with open_gateway(tmp_path, targets=(unpriced, priced)) as house:
            assert (await house.ask(a_call())).receipt.provider == "b"
        async with open_gateway(tmp_path / "none", targets=(unpriced,)) as house:
            with pytest.raises(UnpricedModel):
                await house.ask(a_call())


async def test_an_abandoned_call_that_never_ends_by_itself_still_ends(tmp_path: Path):
    async with scripted_upstream() as upstream, open_gateway(tmp_path, upstream) as house:
        upstream.default = hang()
        replies = [await house.gateway.generate(a_call(f"call {number}")) for number in range(20)]
        await upstream.until(lambda it: len(it.requests) == 20)
        for reply in replies:
            await reply.aclose()
        await upstream.until(lambda it: all(request.closed for request in it.requests), within_s=1)


async def test_a_deadline_that_passes_while_the_ledger_is_asked_holds_nothing(tmp_path: Path):
    async with scripted_upstream() as upstream, open_gateway(tmp_path, upstream) as house:
        with pytest.raises(DeadlineExceeded) as raised:
            await house.gateway.generate(call := a_call(deadline_s=0.0))
        assert raised.value.waited_for == "the ledger"
        await house.at_rest()
        assert {hold["state"] for hold in house.holds(call.generation_id)} <= {"released"}
        assert upstream.requests == []
