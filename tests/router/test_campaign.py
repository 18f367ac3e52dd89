"""Random calls against a random upstream, left at random moments: afterwards nothing is left, and the books agree."""

import asyncio
import random
from collections import Counter
from contextlib import aclosing
from pathlib import Path

import msgspec
import pytest

from ledger.ceilings import Ceiling
from ledger.errors import CeilingExceeded, CeilingHeld, KeyTaken
from router.breaker import BreakerRule
from router.call import CacheMode, Call
from router.errors import DeadlineExceeded, NotCached, Overloaded, UpstreamFailed, UpstreamRejected
from router.limits import StreamLimits
from router.reply import Finished
from tests.ledger.calls import an_idempotency_key
from tests.loops import Runner
from tests.router.gateways import House, a_call, a_deployment, closed_at_the_end, open_gateway, text_of
from tests.upstream import (
    Script,
    ScriptedUpstream,
    close_after_request,
    echo,
    garbage,
    half_body,
    hang,
    reset_after_request,
    scripted_upstream,
    status,
    stream,
)

CALLS = 400
AT_ONCE = 40
MODES: tuple[CacheMode, ...] = (*("use",) * 8, "bypass", "refresh", "only")
# What may become of a call whose upstream, deadline, gate and ceiling are as random as these. Overloaded: no place at a
# gate would have been free by its deadline.
EXPECTED = (
    CeilingExceeded,
    CeilingHeld,
    DeadlineExceeded,
    KeyTaken,
    NotCached,
    Overloaded,
    UpstreamFailed,
    UpstreamRejected,
)


def a_script(draw: random.Random) -> Script:
    return draw.choice(
        (
            *(echo(delay_s=draw.random() * 0.05) for _ in range(12)),
            hang(),
            status(500),
            status(429),
            status(400),
            garbage(),
            close_after_request(),
            reset_after_request(),
            half_body(),
            stream([], then="cut"),
            stream(["words that ", "break off"], then="cut"),
            stream(["words that ", "fall silent"], then="hang"),
        )
    )


def a_random_call(draw: random.Random, calls: int) -> Call:
    text = f"please say number {draw.randrange(calls // 16)} again"
    call = a_call(
        text,
        stream=draw.random() < 0.5,
        mode=draw.choice(MODES),
        ttl_s=draw.choice((None, 0)),
        deadline_s=draw.choice((0.005, 0.1, 0.5, 2.0, 2.0)),
    )
    if draw.random() < 0.6:
        return call
    key = an_idempotency_key(text, body=str(call.stream))
    return msgspec.structs.replace(call, idempotency=key)


async def hear_some(house: House, call: Call, draw: random.Random) -> Finished | None:
    """The call to its end, or to a random moment: while it is admitted, among its events, or while it is awaited."""
    patience_s = draw.choice((*(None,) * 7, 0.0, 0.001, 0.01, 0.05))
    most_events = draw.choice((*(None,) * 6, 1, 2))
    try:
        async with asyncio.timeout(patience_s), closed_at_the_end(await house.gateway.generate(call)) as reply:
            if not call.stream:
                return await reply.finished()
            heard = 0
            async with aclosing(reply.events()) as events:
                async for event in events:
                    if isinstance(event, Finished):
                        return event
                    heard += 1
                    if heard == most_events:
                        return None
    except TimeoutError:
        return None
    raise AssertionError("the events ended without Finished")


def check_books(house: House, upstream: ScriptedUpstream, calls: dict[str, Call]) -> None:
    """Every request the upstream saw is one attempt, with one posting unless a refusal proved it free."""
    sql = "SELECT generation_id, deployment, state, outcome, status, held_nanousd, cost_nanousd"
    rows = house.rows(f"{sql} FROM holds LEFT JOIN postings USING (hold_id)")
    attempts = {(row["generation_id"], row["deployment"].partition(":")[2]): row for row in rows}
    assert len(attempts) == len(rows)
    seen = Counter(
        (calls[request.headers["traceparent"].split("-")[1]].generation_id, request.body["model"])
        for request in upstream.requests
    )
    assert set(seen.values()) == {1}
    assert seen.keys() <= attempts.keys()
    for place, row in attempts.items():
        was_refused = row["status"] is not None and row["status"] >= 400
        assert (row["state"] == "settled") == (row["cost_nanousd"] is not None)
        if place in seen:
            assert row["state"] == ("released" if was_refused else "settled"), row
        else:
            # It was told to stop before its request arrived: if it may have left, it is charged.
            assert row["outcome"] in {"aborted", "stalled"}, row


def check_keys(house: House, calls: list[Call], ends: list[Finished | BaseException | None]) -> None:
    """Everybody who got an answer under one key got the same one, and it is kept."""
    told: dict[str, set[str]] = {}
    for call, end in zip(calls, ends, strict=True):
        if call.idempotency is not None and isinstance(end, Finished):
            told.setdefault(call.idempotency.key, set()).add(end.receipt.generation_id)
    done = house.rows("SELECT idempotency_key, generation_id FROM idempotency WHERE state = 'done'")
    kept = {row["idempotency_key"]: row["generation_id"] for row in done}
    assert {key: names for key, names in told.items() if names != {kept.get(key)}} == {}
    replayed = [
        end
        for call, end in zip(calls, ends, strict=True)
        if isinstance(end, Finished) and end.receipt.generation_id != call.generation_id
    ]
    assert len(replayed) >= 5


async def campaign(tmp_path: Path, *, seed: int, calls: int) -> None:
    """So many random calls, and what must hold after them."""
    draw = random.Random(seed)
    async with scripted_upstream() as upstream:
        targets = tuple(a_deployment(name, upstream.url, max_concurrency=15) for name in "abc")
        ceilings = (
            Ceiling(scope="global", window="total", limit=1250 * calls),
            Ceiling(scope="provider:b", window="total", limit=750 * calls),
        )
        async with open_gateway(
            tmp_path,
            targets=targets,
            ceilings=ceilings,
            # A breaker that opened would soon end the campaign.
            breaker=BreakerRule(threshold=10**6),
            stream_limits=StreamLimits(gap_s=0.3),
        ) as house:
            upstream.plays(*(a_script(draw) for _ in range(3 * calls)))
            asked = [a_random_call(draw, calls) for _ in range(calls)]
            ends: list[Finished | BaseException | None] = []
            for first in range(0, calls, AT_ONCE):
                some = asked[first : first + AT_ONCE]
                hearing = (hear_some(house, call, draw) for call in some)
                ends += await asyncio.gather(*hearing, return_exceptions=True)
            await house.at_rest()
            assert house.counted() == await house.reported(), "here every stored answer can be read"
            await upstream.until(lambda it: all(request.closed or request.played for request in it.requests))

            assert [end for end in ends if isinstance(end, BaseException) and not isinstance(end, EXPECTED)] == []
            for call, end in zip(asked, ends, strict=True):
                if isinstance(end, Finished):
                    assert text_of(end) == call.body["messages"][0]["content"]
            check_keys(house, asked, ends)
            check_books(house, upstream, {call.trace.trace_id: call for call in asked})
            kinds = Counter(end.receipt.cache if isinstance(end, Finished) else type(end).__name__ for end in ends)
            assert {"hit", "miss", "coalesced", "bypass", "NoneType"} <= kinds.keys()
            await check_pool(house, upstream)


async def check_pool(house: House, upstream: ScriptedUpstream) -> None:
    """The next hundred of a hundred are answered at the first try, and no connection is left over but idle ones."""
    upstream.forget_scripts()
    upstream.default = echo()
    await house.ledger.configure_ceilings(())
    afterwards = await asyncio.gather(*(house.ask(a_call(f"afterwards {number}")) for number in range(100)))
    assert [text_of(finished) for finished in afterwards] == [f"afterwards {number}" for number in range(100)]
    assert [[it.outcome for it in finished.receipt.attempts] for finished in afterwards] == [["ok"]] * 100
    assert upstream.open_connections <= sum(gate.limit or 0 for gate in house.gates._gates.values())


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_random_calls_leave_nothing_behind_and_books_that_agree(tmp_path: Path, seed: int):
    await campaign(tmp_path, seed=seed, calls=CALLS)


@pytest.mark.soak
def test_ten_thousand_random_calls_leave_nothing_behind(tmp_path: Path):
    # Not as a coroutine, which would be bound to a test's usual deadline.
    with Runner() as runner:
        runner.run(campaign(tmp_path, seed=4, calls=10_000))
