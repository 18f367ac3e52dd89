"""No Idempotency-Key stays taken by a call that nobody waited for, however its admission went."""

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import pytest

from ledger.errors import IdempotencyInProgress
from ledger.ledger import Ledger
from ledger.values import Admission, AdmitRequest
from router.call import Call
from router.errors import DeadlineExceeded
from tests.ledger.calls import an_idempotency_key
from tests.router.gateways import House, a_call, closed_at_the_end, open_gateway, text_of
from tests.upstream import answer, scripted_upstream


class Slow:
    """A real ledger whose answer to chosen calls does not arrive: `before` it was asked, or after. Then it does."""

    def __init__(self) -> None:
        self.ledger: Any = None
        self.delayed: dict[str, str] = {}
        self.gate = asyncio.Event()

    def __call__(self, ledger: Ledger) -> Any:
        self.ledger = ledger
        return self

    def __getattr__(self, name: str) -> Any:
        return getattr(self.ledger, name)

    async def admit(self, request: AdmitRequest) -> Admission:
        when = self.delayed.get(request.facts.generation_id, "")
        if when == "before":
            await self.gate.wait()
        admission: Admission = await self.ledger.admit(request)
        if when == "after":
            await self.gate.wait()
        return admission


def keyed(call: Call) -> Call:
    return msgspec.structs.replace(call, idempotency=an_idempotency_key())


def keys(house: House) -> list[dict[str, Any]]:
    return house.rows("SELECT generation_id, state FROM idempotency")


@pytest.mark.parametrize("follows", [False, True])
async def test_an_admission_that_came_too_late_gives_its_key_back(tmp_path: Path, follows: bool):
    slow, gate = Slow(), asyncio.Event()
    async with scripted_upstream() as upstream, open_gateway(tmp_path, upstream, between=slow) as house:
        upstream.plays(answer("led", gate=gate))
        leader = asyncio.create_task(house.ask(a_call("shared")))
        await upstream.until(lambda it: len(it.requests) == 1)
        late = keyed(a_call("shared" if follows else "alone", deadline_s=0.1))
        slow.delayed[late.generation_id] = "after"
        with pytest.raises(DeadlineExceeded):
            await house.gateway.generate(late)
        slow.gate.set()
        gate.set()
        await leader
        await house.gateway.aclose()
        assert keys(house) == []
        again = keyed(a_call("another try"))
        assert text_of(await house.ask(again)) == "another try"
        assert keys(house) == [{"generation_id": again.generation_id, "state": "done"}]
        assert len(upstream.requests) == 2, "what came too late sent nothing"


async def test_an_admission_that_was_never_written_takes_no_key_from_the_try_after_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    slow, gate = Slow(), asyncio.Event()
    async with scripted_upstream() as upstream, open_gateway(tmp_path, upstream, between=slow) as house:
        upstream.plays(answer("the second try", gate=gate))
        late, second = keyed(a_call("ask", deadline_s=0.1)), keyed(a_call("ask"))
        slow.delayed[late.generation_id] = "before"
        with pytest.raises(DeadlineExceeded):
            await house.gateway.generate(late)
        async with closed_at_the_end(await house.gateway.generate(second)) as reply:
            with pytest.raises(IdempotencyInProgress):
                await house.gateway.generate(keyed(a_call("ask")))
            slow.gate.set()
            gate.set()
            assert text_of(await reply.finished()) == "the second try"
        assert keys(house) == [{"generation_id": second.generation_id, "state": "done"}]
        await house.gateway.aclose()
        assert house.rows("SELECT 1 FROM generations WHERE generation_id = :id", id=late.generation_id) == []
        assert caplog.records == []
