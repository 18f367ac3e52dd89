"""Calls at a provider's full gate: they wait as long as it makes sense, and go elsewhere or are told at once if not."""

import asyncio
from pathlib import Path

import pytest

from router.errors import DeadlineExceeded, Overloaded
from router.gates import ANSWERS_THAT_COUNT
from tests.router.gateways import House, a_call, a_deployment, open_gateway, text_of
from tests.upstream import ScriptedUpstream, answer, scripted_upstream, stream


def occupied(upstream: ScriptedUpstream, gate: asyncio.Event) -> None:
    """The next call at the upstream takes its place until the gate opens."""
    upstream.plays(answer("first", gate=gate))


async def the_first(house: House, upstream: ScriptedUpstream) -> asyncio.Task[object]:
    task = asyncio.create_task(house.ask(a_call("first", mode="bypass")))
    await upstream.until(lambda it: len(it.requests) == 1)
    return task


def say_what_is_usual(house: House, provider: str, span_s: float) -> None:
    for _ in range(ANSWERS_THAT_COUNT):
        house.gates._gates[provider].usual.add(span_s)


def outcomes(house: House, generation_id: str) -> list[tuple[str, str, int | None]]:
    return [(row["deployment"], row["outcome"], row["cost_nanousd"]) for row in house.holds(generation_id)]


async def test_a_call_waits_for_its_place_and_its_wait_is_told(tmp_path: Path):
    gate = asyncio.Event()
    async with scripted_upstream() as upstream:
        one = (a_deployment("a", upstream.url, max_concurrency=1),)
        async with open_gateway(tmp_path, targets=one) as house:
            occupied(upstream, gate)
            first = await the_first(house, upstream)
            second = asyncio.create_task(house.ask(a_call("second")))
            await house.until(lambda: house.gates._gates["a"].waiting == 1)
            assert len(upstream.requests) == 1
            gate.set()
            await first
            receipt = (await second).receipt
            assert receipt.timing.queue_ms > 0
            story = await house.ledger.generation(receipt.generation_id)
            assert story is not None
            assert story["attempts"][0]["queued_ms"] >= receipt.timing.queue_ms


async def test_a_wait_that_would_outlast_the_deadline_is_refused_at_once_and_costs_nothing(tmp_path: Path):
    gate = asyncio.Event()
    async with scripted_upstream() as upstream:
        one = (a_deployment("a", upstream.url, max_concurrency=1),)
        async with open_gateway(tmp_path, targets=one) as house:
            occupied(upstream, gate)
            first = await the_first(house, upstream)
            say_what_is_usual(house, "a", 300.0)
            call = a_call("second", deadline_s=20.0)
            with pytest.raises(Overloaded) as refused:
                await house.ask(call)
            assert refused.value.waited_for == "a free place at a"
            assert 250 < refused.value.retry_after_s <= 300
            assert outcomes(house, call.generation_id) == [("a:model-a", "aborted", None)]
            assert house.health.report("a:model-a")["breaker"]["total_failures"] == 0
            gate.set()
            await first
            assert len(upstream.requests) == 1


@pytest.mark.parametrize("is_known", [False, True])
async def test_a_call_does_not_spend_its_deadline_in_one_line_while_another_provider_is_free(
    tmp_path: Path, is_known: bool
):
    gate = asyncio.Event()
    async with scripted_upstream() as upstream:
        two = (a_deployment("a", upstream.url, max_concurrency=1), a_deployment("b", upstream.url))
        async with open_gateway(tmp_path, targets=two) as house:
            occupied(upstream, gate)
            upstream.plays(stream(["from b"]))
            first = await the_first(house, upstream)
            if is_known:
                # More than half of the deadline, which is what one provider may have of it.
                say_what_is_usual(house, "a", 15.0)
            call = a_call("second", deadline_s=20.0 if is_known else 3.0)
            finished = await house.ask(call)
            assert text_of(finished) == "from b"
            told = [(report.provider, report.outcome) for report in finished.receipt.attempts]
            assert told == [("a", "aborted"), ("b", "ok")]
            assert house.health.report("a:model-a")["breaker"]["total_failures"] == 0
            gate.set()
            await first


async def test_a_wait_that_nobody_could_foresee_ends_with_the_deadline(tmp_path: Path):
    gate = asyncio.Event()
    async with scripted_upstream() as upstream:
        one = (a_deployment("a", upstream.url, max_concurrency=1),)
        async with open_gateway(tmp_path, targets=one) as house:
            occupied(upstream, gate)
            first = await the_first(house, upstream)
            with pytest.raises(DeadlineExceeded) as late:
                await house.ask(a_call("second", deadline_s=1.0))
            assert late.value.waited_for == "a free place at a"
            gate.set()
            await first
