"""Gates: at most so many at once, in the order of their coming, and a wait that is given up takes nothing."""

import asyncio

from router.gates import Gate, Gates
from tests.router.gateways import a_deployment


async def test_never_more_than_its_limit_pass_and_the_others_follow_in_order():
    gate, passed, most = Gate(3), [], 0
    go_on = asyncio.Event()

    async def pass_through(number: int) -> None:
        nonlocal most
        async with gate.pass_through():
            passed.append(number)
            most = max(most, gate.in_use)
            await go_on.wait()

    walking = [asyncio.create_task(pass_through(number)) for number in range(10)]
    await asyncio.sleep(0)
    assert (passed, gate.in_use) == ([0, 1, 2], 3)
    go_on.set()
    await asyncio.gather(*walking)
    assert (passed, most, gate.in_use) == (list(range(10)), 3, 0)


async def test_whoever_gives_up_waiting_or_fails_inside_leaves_no_permit_behind():
    gate = Gate(1)
    inside = asyncio.Event()

    async def fail() -> None:
        async with gate.pass_through():
            await inside.wait()
            raise ValueError

    async def pass_through() -> None:
        async with gate.pass_through():
            pass

    failing = asyncio.create_task(fail())
    waiting = [asyncio.create_task(pass_through()) for _ in range(5)]
    await asyncio.sleep(0)
    for task in waiting[::2]:
        task.cancel()
    inside.set()
    ends = await asyncio.gather(failing, *waiting, return_exceptions=True)
    assert [type(end) for end in ends[1:]] == [asyncio.CancelledError, type(None)] * 2 + [asyncio.CancelledError]
    assert gate.in_use == 0
    async with asyncio.timeout(1), gate.pass_through():
        assert gate.in_use == 1


async def test_a_gate_without_a_limit_lets_everybody_through_and_counts_them():
    gate = Gates([]).gate(a_deployment("new", "http://127.0.0.1:1/v1").provider)
    async with gate.pass_through(), gate.pass_through():
        assert (gate.limit, gate.in_use) == (None, 2)


def test_a_provider_has_one_gate():
    provider = a_deployment("a", "http://127.0.0.1:1/v1", max_concurrency=2).provider
    gates = Gates([provider])
    assert gates.gate(provider) is gates.gate(provider)
    assert gates.gate(provider).limit == 2
