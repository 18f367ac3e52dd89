"""What becomes of a call while the ledger fails, or something of our own does: no hold stays open, nothing is lost."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from ledger.errors import LedgerUnavailable
from ledger.ledger import Ledger
from router.admitting import ADMIT_TRIES
from router.answer import Closing, Delta
from router.breaker import BreakerRule, BreakerState
from router.deployments import HedgeRule
from router.settling import WRITE_TRIES
from tests.ledger.calls import an_idempotency_key
from tests.router.gateways import a_call, a_deployment, closed_at_the_end, open_gateway, text_of
from tests.upstream import answer, scripted_upstream, status, stream


class Unsteady:
    """A real ledger that fails some writes: before they are made, or after, when nobody can know."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self.fails_before: dict[str, int] = {}
        self.fails_after: dict[str, int] = {}

    def __getattr__(self, name: str) -> Any:
        operation = getattr(self._ledger, name)
        return self._unsteady(name, operation) if name in {*self.fails_before, *self.fails_after} else operation

    def _unsteady(self, name: str, operation: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def write(*args: Any, **named: Any) -> Any:
            if _takes_one(self.fails_before, name):
                raise LedgerUnavailable
            result = await operation(*args, **named)
            if _takes_one(self.fails_after, name):
                raise LedgerUnavailable(unknown=True)
            return result

        return write


def _takes_one(failures: dict[str, int], name: str) -> bool:
    left = failures.get(name, 0)
    failures[name] = max(0, left - 1)
    return left > 0


class Between:
    """Puts one Unsteady between the router and the ledger it is given."""

    unsteady: Unsteady

    def __call__(self, ledger: Ledger) -> Ledger:
        if not hasattr(self, "unsteady"):
            self.unsteady = Unsteady(ledger)
        unsteady: Any = self.unsteady
        return unsteady


@pytest.mark.parametrize("operation", ["admit", "hold_next", "settle"])
async def test_a_write_that_may_have_been_kept_is_repeated_and_counts_once(tmp_path: Path, operation: str):
    between = Between()
    async with scripted_upstream() as upstream, open_gateway(tmp_path, upstream, between=between) as house:
        between.unsteady.fails_after[operation] = 2
        upstream.plays(status(500), answer("answered"))
        call = a_call()
        assert text_of(await house.ask(call)) == "answered"
        assert [hold["state"] for hold in house.holds(call.generation_id)] == ["released", "settled"]
        assert house.count("postings") == 1


async def test_a_lead_that_was_never_learned_of_is_given_back_and_nothing_is_sent(tmp_path: Path):
    between = Between()
    async with scripted_upstream() as upstream, open_gateway(tmp_path, upstream, between=between) as house:
        between.unsteady.fails_after["admit"] = ADMIT_TRIES
        call = a_call()
        with pytest.raises(LedgerUnavailable):
            await house.ask(call)
        await house.at_rest()
        assert [hold["state"] for hold in house.holds(call.generation_id)] == ["released"]
        assert upstream.requests == []


async def test_a_hit_that_was_never_learned_of_stays_what_its_key_was_answered(tmp_path: Path):
    between = Between()
    async with scripted_upstream() as upstream, open_gateway(tmp_path, upstream, between=between) as house:
        first = await house.ask(a_call("the same"))
        unheard, later = (
            msgspec.structs.replace(a_call("the same"), idempotency=an_idempotency_key("the same")) for _ in range(2)
        )
        between.unsteady.fails_after["admit"] = ADMIT_TRIES
        with pytest.raises(LedgerUnavailable):
            await house.ask(unheard)
        await house.gateway.aclose()
        assert house.holds(unheard.generation_id) == []
        replayed = await house.ask(later)
        assert replayed.receipt.generation_id == unheard.generation_id
        assert text_of(replayed) == text_of(first)
        assert len(upstream.requests) == 1


async def test_a_ledger_that_takes_no_writes_refuses_at_once(tmp_path: Path):
    between = Between()
    async with scripted_upstream() as upstream, open_gateway(tmp_path, upstream, between=between) as house:
        between.unsteady.fails_before["admit"] = 1
        with pytest.raises(LedgerUnavailable):
            await house.ask(a_call())
        assert upstream.requests == []
        assert text_of(await house.ask(a_call("next"))) == "next"


@pytest.mark.parametrize("operation", ["hold_next", "settle"])
async def test_callers_do_not_wait_for_a_ledger_that_stays_away_and_the_call_is_settled_all_the_same(
    tmp_path: Path, operation: str
):
    between = Between()
    async with scripted_upstream() as upstream, open_gateway(tmp_path, upstream, between=between) as house:
        between.unsteady.fails_before[operation] = WRITE_TRIES
        upstream.plays(status(500), answer("answered"))
        call = a_call()
        leader, follower = await house.gateway.generate(call), await house.gateway.generate(a_call())
        async with closed_at_the_end(leader), closed_at_the_end(follower):
            for reply in (leader, follower):
                with pytest.raises(LedgerUnavailable):
                    await reply.finished()
        await house.at_rest()
        # Whoever gave up waiting is not charged for a second attempt that would only have come after.
        states = {"hold_next": ["released", "released"], "settle": ["released", "settled"]}
        assert [hold["state"] for hold in house.holds(call.generation_id)] == states[operation]
        assert len(upstream.requests) == (1 if operation == "hold_next" else 2)


@pytest.mark.parametrize("is_stream", [False, True])
async def test_a_hedge_whose_hold_nobody_knows_of_does_not_keep_an_answer_that_is_there(
    tmp_path: Path, is_stream: bool
):
    between, rule = Between(), HedgeRule(after_s=0.01, stagger_s=30.0, max_ratio=10.0)
    async with (
        scripted_upstream() as upstream,
        open_gateway(tmp_path, upstream, between=between, hedge=rule) as house,
    ):
        unsteady, gate = between.unsteady, asyncio.Event()
        unsteady.fails_after["hold_next"] = 1_000_000
        upstream.plays(stream([gate, "answered"]))
        call = a_call(stream=is_stream)
        asking = asyncio.create_task(house.ask(call))
        await house.until(lambda: unsteady.fails_after["hold_next"] < 1_000_000)
        gate.set()
        assert text_of(await asyncio.wait_for(asking, 5)) == "answered"
        unsteady.fails_after["hold_next"] = 0
        await house.at_rest()
        # It was taken, and given back: nothing was sent for it.
        assert sorted(hold["state"] for hold in house.holds(call.generation_id)) == ["released", "settled"]
        assert len(upstream.requests) == 1


async def test_stopping_gives_up_on_a_ledger_that_stays_away(tmp_path: Path):
    between = Between()
    async with (
        scripted_upstream() as upstream,
        open_gateway(tmp_path, upstream, between=between, ends_at_rest=False) as house,
    ):
        between.unsteady.fails_before["settle"] = WRITE_TRIES + 1
        async with closed_at_the_end(await house.gateway.generate(a_call())) as reply:
            with pytest.raises(LedgerUnavailable):
                await reply.finished()
        house.gateway.stop()
        await house.gateway.aclose()
        # The end of this process's lease is going to close it.
        assert [hold["state"] for hold in house.rows("SELECT state FROM holds")] == ["held"]


async def test_a_follower_is_answered_even_if_it_cannot_be_put_on_record(tmp_path: Path, caplog):
    between = Between()
    async with scripted_upstream() as upstream, open_gateway(tmp_path, upstream, between=between) as house:
        between.unsteady.fails_before["record_follower"] = 1
        gate = asyncio.Event()
        upstream.plays(answer("for both", gate=gate))
        leader, follower = await house.gateway.generate(a_call()), await house.gateway.generate(a_call())
        gate.set()
        async with closed_at_the_end(leader), closed_at_the_end(follower):
            assert text_of(await follower.finished()) == "for both"
        assert "not on record" in caplog.text


class Defective:
    """A dialect with a bug."""

    async def attempt(self, *_args: Any, **_named: Any) -> AsyncGenerator[Delta | Closing, None]:
        yield Delta(text="one word")
        raise ZeroDivisionError

    async def list_models(self, _provider: Any) -> list[str]:
        return []


@pytest.mark.parametrize("is_stream", [False, True])
async def test_a_bug_of_ours_fails_the_call_charges_its_whole_hold_and_keeps_no_probe(
    tmp_path: Path, caplog, is_stream: bool
):
    async with scripted_upstream() as upstream:
        (only,) = targets = (a_deployment("a", upstream.url),)
        rule = BreakerRule(threshold=1)
        async with open_gateway(tmp_path, targets=targets, dialect=Defective(), breaker=rule) as house:
            call = a_call(stream=is_stream)
            async with closed_at_the_end(await house.gateway.generate(call)) as reply:
                with pytest.raises(LedgerUnavailable):
                    await reply.finished()
            await house.gateway.aclose()
            (hold,) = house.holds(call.generation_id)
            assert (hold["state"], hold["outcome"], hold["cost_basis"]) == ("settled", "lost", "unknown")
            assert hold["cost_nanousd"] == hold["held_nanousd"]
            assert house.health.breaker(only.id).state == BreakerState.CLOSED
            assert "ZeroDivisionError" in caplog.text
