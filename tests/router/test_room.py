"""Calls that no ceiling has room for: refused, waiting in line, or made shorter, as the strictest ceiling wishes."""

import asyncio
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.ceilings import Ceiling
from ledger.errors import CeilingExceeded, CeilingHeld
from ledger.prices import FREE, Price, Tier
from router import lines, room
from router.bounds import LIMITS, input_bound_tokens
from router.clamp import clamped
from router.deployments import Route
from router.errors import DeadlineExceeded
from router.plan import Candidate
from tests.router.gateways import PRICE, READ_NANOUSD, WRITTEN_NANOUSD, a_call, a_deployment, open_gateway, text_of
from tests.upstream import answer, hang, scripted_upstream, status


def held_by(call) -> int:
    return PRICE.bound_nanousd(input_bound_tokens(call.body, None), 50)


def ceiling(limit, when_tight="wait", scope="global") -> Ceiling:
    return Ceiling(scope=scope, window="month", limit=limit, when_tight=when_tight)


CALL = a_call("call 0")
ONE = held_by(CALL)


async def test_calls_wait_for_holds_to_settle_first_come_first_served(tmp_path: Path):
    async with (
        scripted_upstream() as upstream,
        open_gateway(tmp_path, upstream, ceilings=(ceiling(ONE + ONE // 2),)) as house,
    ):
        gates = [asyncio.Event() for _ in range(6)]
        upstream.plays(*(answer(f"{n}", gate=gate) for n, gate in enumerate(gates)))
        tasks = []
        for number in range(6):
            tasks.append(asyncio.create_task(house.ask(a_call(f"call {number}"))))
            await upstream.until(lambda it: len(it.requests) >= 1)
            await house.until(lambda number=number: house.waiting() == number)
        for number, gate in enumerate(gates):
            await upstream.until(lambda it, number=number: len(it.requests) == number + 1)
            assert upstream.requests[-1].body["messages"][0]["content"] == f"call {number}"
            gate.set()
        heard = await asyncio.gather(*tasks)
        assert [it.answer.choices[0].text for it in heard] == [str(n) for n in range(6)]
        # The last one stood in line while those between it and the first were answered, each for some time.
        assert heard[-1].receipt.timing.queue_ms > sum(it.receipt.timing.upstream_ms for it in heard[1:-1]) - 1
        assert heard[-1].receipt.timing.queue_ms > 0
        assert house.waiting() == 0
        assert house.rows("SELECT * FROM refusals") == []


async def test_an_equal_call_and_a_hit_pass_those_who_wait(tmp_path: Path):
    async with (
        scripted_upstream() as upstream,
        open_gateway(tmp_path, upstream, ceilings=(ceiling(ONE + ONE // 2),)) as house,
    ):
        gate = asyncio.Event()
        await house.ask(a_call("was asked before"))
        upstream.plays(answer("slow", gate=gate), answer("next"))
        first = asyncio.create_task(house.ask(a_call("slow one")))
        await upstream.until(lambda it: len(it.requests) == 2)
        waits = asyncio.create_task(house.ask(a_call("waits...")))
        await house.until(lambda: house.waiting() == 1)
        hit = await house.ask(a_call("was asked before"))
        assert hit.receipt.cache == "hit"
        equal = asyncio.create_task(house.ask(a_call("slow one")))
        await house.until(lambda: house.sharing() == 2)
        gate.set()
        assert [(await it).receipt.cache for it in (first, equal, waits)] == ["miss", "coalesced", "miss"]


async def test_what_costs_nothing_waits_for_nobody(tmp_path: Path):
    async with scripted_upstream() as upstream:
        free = a_deployment("b", upstream.url, price=FREE)
        targets = (a_deployment("a", upstream.url), free)
        async with open_gateway(tmp_path, targets=targets, ceilings=(ceiling(0, "refuse"),)) as house:
            assert (await house.ask(a_call())).receipt.provider == "b"


class Menu:
    """`chat`, and `only` its last target."""

    def __init__(self, targets):
        self._routes = {"chat": Route(name="chat", targets=targets), "only": Route(name="only", targets=targets[-1:])}

    def resolve(self, model):
        return self._routes[model or "chat"]


@pytest.mark.parametrize("price", [FREE, PRICE])
async def test_who_has_somewhere_else_to_go_does_not_stand_in_line(tmp_path: Path, price):
    async with scripted_upstream() as upstream:
        targets = (a_deployment("a", upstream.url, price=price), a_deployment("b", upstream.url))
        limits = (ceiling(ONE + ONE // 2, scope="provider:b"),)
        async with open_gateway(tmp_path, targets=targets, ceilings=limits) as house:
            house.gateway._planner._routes = Menu(targets)
            gate = asyncio.Event()
            upstream.plays(answer("0", gate=gate))
            first = asyncio.create_task(house.ask(a_call("call 0", model="only")))
            await upstream.until(lambda it: len(it.requests) == 1)
            waits = asyncio.create_task(house.ask(a_call("call 1", model="only")))
            await house.until(lambda: house.waiting() == 1)
            finished = await house.ask(a_call("call 2", deadline_s=5.0))
            assert finished.receipt.provider == "a"
            gate.set()
            await asyncio.gather(first, waits)


async def test_a_wait_ends_at_the_deadline_and_is_then_counted_as_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    # Enough for a ledger on a machine with much else to do.
    monkeypatch.setattr(room, "LAST_TRY_S", 2.6)
    async with (
        scripted_upstream() as upstream,
        open_gateway(tmp_path, upstream, ceilings=(ceiling(ONE + ONE // 2),)) as house,
    ):
        upstream.default = hang()
        holds = asyncio.create_task(house.ask(a_call("call 0")))
        await upstream.until(lambda it: len(it.requests) == 1)
        for number in (1, 2):
            with pytest.raises(CeilingHeld):
                await house.ask(a_call(f"call {number}", deadline_s=3.0))
        assert house.waiting() == 0
        assert [(row["code"], row["count"]) for row in house.rows("SELECT * FROM refusals")] == [("ceiling_held", 2)]
        holds.cancel()
        await asyncio.wait([holds])


async def test_a_caller_who_leaves_the_line_lets_the_next_one_pass(tmp_path: Path):
    async with (
        scripted_upstream() as upstream,
        open_gateway(tmp_path, upstream, ceilings=(ceiling(ONE + ONE // 2),)) as house,
    ):
        gate = asyncio.Event()
        upstream.plays(answer("0", gate=gate), answer("2"))
        tasks = []
        for number in range(3):
            tasks.append(asyncio.create_task(house.ask(a_call(f"call {number}"))))
            await house.until(lambda number=number: house.waiting() == number)
            await upstream.until(lambda it: len(it.requests) == 1)
        tasks[1].cancel()
        gate.set()
        assert (await tasks[2]).answer.choices[0].text == "2"
        await tasks[0]
        await asyncio.wait([tasks[1]])
        assert house.waiting() == 0


async def test_who_follows_a_call_of_another_process_keeps_no_place_in_line(tmp_path: Path):
    def a_house():
        return open_gateway(tmp_path, upstream, ceilings=(ceiling(2 * ONE + ONE // 2),), ends_at_rest=False)

    async with scripted_upstream() as upstream, a_house() as house, a_house() as elsewhere:
        gates = [asyncio.Event() for _ in range(3)]
        upstream.plays(*(answer(f"{n}", gate=gate) for n, gate in enumerate(gates)), answer("3"))
        holders = [asyncio.create_task(elsewhere.ask(a_call(f"holder {number}"))) for number in range(2)]
        await upstream.until(lambda it: len(it.requests) == 2)
        equals = [asyncio.create_task(it.ask(a_call("the same"))) for it in (house, elsewhere)]
        await house.until(lambda: house.waiting() == elsewhere.waiting() == 1)
        gates[0].set()
        await upstream.until(lambda it: len(it.requests) == 3)
        await house.until(lambda: house.waiting() == elsewhere.waiting() == 0)
        behind = asyncio.create_task(house.ask(a_call("behind")))
        await house.until(lambda: house.waiting() == 1)
        gates[1].set()
        assert text_of(await behind) == "3"
        assert not any(task.done() for task in equals)
        gates[2].set()
        assert {text_of(finished) for finished in await asyncio.gather(*equals)} == {"2"}
        await asyncio.gather(*holders)


async def test_who_comes_to_wait_for_another_ceiling_is_passed_over_by_nobody(tmp_path: Path):
    big = a_call("big", user="u1", body={"max_tokens": 200})
    room = PRICE.bound_nanousd(input_bound_tokens(big.body, None), 200)
    assert room >= 2 * ONE
    mine, everybodys = ceiling(room + ONE // 2, scope="user:u1"), ceiling(ONE + room + ONE // 2)
    async with (
        scripted_upstream() as upstream,
        open_gateway(tmp_path, upstream, ceilings=(mine, everybodys)) as house,
    ):
        gates = [asyncio.Event() for _ in range(3)]
        upstream.plays(*(answer(f"{n}", gate=gate) for n, gate in enumerate(gates)), answer("3"), answer("4"))
        lines = house.gateway._room._lines._lines
        own = asyncio.create_task(house.ask(a_call("call 0", user="u1")))
        await upstream.until(lambda it: len(it.requests) == 1)
        waits = asyncio.create_task(house.ask(big))
        await house.until(lambda: mine.id in lines)
        others = [asyncio.create_task(house.ask(a_call(f"call {number}", user="u2"))) for number in (1, 2)]
        await upstream.until(lambda it: len(it.requests) == 3)
        gates[0].set()
        await own
        await house.until(lambda: everybodys.id in lines)
        # There is room for this one; but whoever came before it waits for more.
        last = asyncio.create_task(house.ask(a_call("last", user="u3")))
        await house.until(lambda: house.waiting() == 2)
        gates[1].set()
        await asyncio.gather(waits, last)
        gates[2].set()
        await asyncio.gather(*others)
        said = [request.body["messages"][0]["content"] for request in upstream.requests]
        assert said[3:] == ["big", "last"]


async def test_nobody_waits_for_room_that_no_settling_makes(tmp_path: Path):
    async with scripted_upstream() as upstream, open_gateway(tmp_path, upstream, ceilings=(ceiling(ONE - 1),)) as house:
        with pytest.raises(CeilingExceeded):
            await house.ask(CALL)
        assert upstream.requests == []


async def test_who_finds_the_line_too_long_is_told_at_once(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(lines, "MOST_WAITING", 1)
    async with (
        scripted_upstream() as upstream,
        open_gateway(tmp_path, upstream, ceilings=(ceiling(ONE + ONE // 2),)) as house,
    ):
        gate = asyncio.Event()
        upstream.plays(answer("0", gate=gate), answer("1"))
        first = asyncio.create_task(house.ask(a_call("call 0")))
        await upstream.until(lambda it: len(it.requests) == 1)
        second = asyncio.create_task(house.ask(a_call("call 1")))
        await house.until(lambda: house.waiting() == 1)
        with pytest.raises(CeilingHeld):
            await house.ask(a_call("call 2"))
        gate.set()
        await asyncio.gather(first, second)


@pytest.mark.parametrize("stream", [False, True])
async def test_an_answer_is_made_as_short_as_the_room_and_neither_stored_nor_shared(tmp_path: Path, stream):
    limit = PRICE.bound_nanousd(input_bound_tokens(CALL.body, None), 20)
    async with (
        scripted_upstream() as upstream,
        open_gateway(tmp_path, upstream, ceilings=(ceiling(limit, "clamp"),)) as house,
    ):
        upstream.default = answer("short", prompt_tokens=0, completion_tokens=0)
        for _ in range(2):
            finished = await house.ask(a_call("call 0", stream=stream))
            assert finished.receipt.clamped == {"max_tokens": 20}
            assert finished.receipt.cache == "bypass"
        assert [request.body["max_tokens"] for request in upstream.requests] == [20, 20]
        assert house.rows("SELECT * FROM refusals") == []
        whole = await house.ask(a_call("call 0", body={"max_tokens": 20}))
        assert whole.receipt.clamped == {}


async def test_a_clamp_that_leaves_not_one_token_refuses(tmp_path: Path):
    async with (
        scripted_upstream() as upstream,
        open_gateway(tmp_path, upstream, ceilings=(ceiling(1, "clamp"),)) as house,
    ):
        with pytest.raises(CeilingExceeded):
            await house.ask(CALL)
        assert [row["code"] for row in house.rows("SELECT * FROM refusals")] == ["ceiling_exceeded"]


async def test_a_refusal_is_stricter_than_a_clamp_and_a_clamp_than_a_wait(tmp_path: Path):
    limit = PRICE.bound_nanousd(input_bound_tokens(CALL.body, None), 20)
    async with scripted_upstream() as upstream:
        ceilings = (
            ceiling(limit, "clamp"),
            ceiling(limit, "refuse", "provider:a"),
            ceiling(limit, "wait", "provider:b"),
        )
        async with open_gateway(tmp_path, upstream, ceilings=ceilings) as house:
            upstream.default = answer("short", prompt_tokens=0, completion_tokens=0)
            finished = await house.ask(a_call("call 0"))
            assert (finished.receipt.provider, finished.receipt.clamped) == ("b", {"max_tokens": 20})


async def test_a_fallback_of_a_clamped_call_is_clamped_too(tmp_path: Path):
    limit = PRICE.bound_nanousd(input_bound_tokens(CALL.body, None), 20)
    async with (
        scripted_upstream() as upstream,
        open_gateway(tmp_path, upstream, ceilings=(ceiling(limit, "clamp"),)) as house,
    ):
        upstream.plays(status(500), answer("short"))
        finished = await house.ask(a_call("call 0"))
        assert (finished.receipt.provider, finished.receipt.clamped) == ("b", {"max_tokens": 20})


BODIES = st.fixed_dictionaries(
    {"messages": st.just([{"role": "user", "content": "hello"}])},
    optional={
        "max_tokens": st.integers(0, 5000),
        "max_completion_tokens": st.integers(0, 5000),
        "n": st.integers(1, 4),
    },
)


async def test_a_fallback_waits_for_room_too(tmp_path: Path):
    async with scripted_upstream() as upstream:
        dear = Price(version="dear", base=Tier(input=2 * READ_NANOUSD * 10**6, output=2 * WRITTEN_NANOUSD * 10**6))
        targets = (a_deployment("a", upstream.url), a_deployment("b", upstream.url, price=dear))
        async with open_gateway(tmp_path, targets=targets, ceilings=(ceiling(5 * ONE // 2),)) as house:
            settles, fails = asyncio.Event(), asyncio.Event()

            async def failing(connection, request) -> None:
                await fails.wait()
                await status(500)(connection, request)

            upstream.plays(answer("the other", gate=settles), failing, answer("after the other"))
            other = asyncio.create_task(house.ask(a_call("call 1")))
            await upstream.until(lambda it: len(it.requests) == 1)
            call = a_call("call 2")
            asking = asyncio.create_task(house.ask(call))
            await upstream.until(lambda it: len(it.requests) == 2)
            fails.set()
            await house.until(lambda: [hold["state"] for hold in house.holds(call.generation_id)] == ["released"])
            settles.set()
            receipt = (await asking).receipt
            assert [(it.provider, it.outcome) for it in receipt.attempts] == [("a", "upstream_error"), ("b", "ok")]
            assert receipt.timing.queue_ms > 0
            assert text_of(await other) == "the other"


def dear_fallback(upstream):
    """Two deployments; what the first one holds costs three times as much at the second."""
    dear = Price(version="dear", base=Tier(input=3 * READ_NANOUSD * 10**6, output=3 * WRITTEN_NANOUSD * 10**6))
    return a_deployment("a", upstream.url), a_deployment("b", upstream.url, price=dear)


async def test_a_fallback_that_does_not_fit_is_clamped_and_then_neither_stored_nor_shared(tmp_path: Path):
    limit = 3 * PRICE.bound_nanousd(input_bound_tokens(CALL.body, None), 20)
    async with scripted_upstream() as upstream:
        ceilings = (ceiling(limit, "clamp"),)
        async with open_gateway(tmp_path, targets=dear_fallback(upstream), ceilings=ceilings) as house:
            fails = asyncio.Event()

            async def failing(connection, request) -> None:
                await fails.wait()
                await status(500)(connection, request)

            upstream.plays(failing, answer("short", prompt_tokens=0, completion_tokens=0), answer("anew"))
            leader = asyncio.create_task(house.ask(CALL))
            await upstream.until(lambda it: len(it.requests) == 1)
            follower = asyncio.create_task(house.ask(a_call("call 0")))
            flight = house.gateway._flights[CALL.generation_id]
            await house.until(lambda: len(flight._listeners) == 2)
            fails.set()
            finished = await leader
            assert (finished.receipt.provider, finished.receipt.clamped) == ("b", {"max_tokens": 20})
            assert finished.receipt.attempts[0].outcome == "upstream_error"
            # Its follower asked for a whole answer: it leads a call of its own.
            whole = await follower
            assert (text_of(whole), whole.receipt.clamped, whole.receipt.cache) == ("anew", {}, "miss")
            assert [request.body["max_tokens"] for request in upstream.requests] == [50, 20, 50]
            assert house.rows("SELECT COUNT(*) AS stored FROM responses") == [{"stored": 1}]


async def test_a_fallback_with_a_ceiling_that_refuses_is_not_clamped(tmp_path: Path):
    limit = 3 * PRICE.bound_nanousd(input_bound_tokens(CALL.body, None), 20)
    async with scripted_upstream() as upstream:
        ceilings = (ceiling(limit, "clamp"), ceiling(limit, "refuse", "provider:b"))
        async with open_gateway(tmp_path, targets=dear_fallback(upstream), ceilings=ceilings) as house:
            upstream.plays(status(500))
            with pytest.raises(CeilingExceeded):
                await house.ask(a_call("call 0"))
            assert len(upstream.requests) == 1


async def test_a_fallback_that_waits_in_vain_is_refused_at_the_deadline(tmp_path: Path):
    async with scripted_upstream() as upstream:
        dear = Price(version="dear", base=Tier(input=2 * READ_NANOUSD * 10**6, output=2 * WRITTEN_NANOUSD * 10**6))
        targets = (a_deployment("a", upstream.url), a_deployment("b", upstream.url, price=dear))
        async with open_gateway(tmp_path, targets=targets, ceilings=(ceiling(5 * ONE // 2),)) as house:
            upstream.default = hang()
            upstream.plays(hang(), status(500))
            other = asyncio.create_task(house.ask(a_call("call 1", deadline_s=2.0)))
            await upstream.until(lambda it: len(it.requests) == 1)
            with pytest.raises((CeilingHeld, DeadlineExceeded)):
                await house.ask(a_call("call 2", deadline_s=0.4))
            with pytest.raises(DeadlineExceeded):
                await other


def test_to_shorten_an_answer_the_call_is_not_read_again():
    deployment = msgspec.structs.replace(a_deployment("a", "http://x"), max_output_tokens=100)
    body = {"messages": [{"role": "user", "content": "long " * 1000}]}
    candidate = Candidate(
        deployment=deployment, held_nanousd=PRICE.bound_nanousd(7, 100), held_tokens=107, read_tokens=7, body=body
    )
    shorter = clamped(candidate, None, 57)
    assert shorter is not None
    assert (shorter.held_tokens, shorter.read_tokens, shorter.clamped) == (57, 7, {"max_tokens": 50})


@given(BODIES, st.integers(0, 3_000_000), st.none() | st.integers(1, 5000))
def test_the_longest_answer_that_fits_is_chosen(body, room, most):
    deployment = msgspec.structs.replace(a_deployment("a", "http://x"), max_output_tokens=most, context_window=8000)
    asked = max((body[name] for name in LIMITS if name in body), default=None)
    limit = min((it for it in (asked, most) if it is not None), default=8000)

    def cost(length):
        return PRICE.bound_nanousd(input_bound_tokens(body, 8000), length * body.get("n", 1))

    candidate = Candidate(
        deployment=deployment, held_nanousd=cost(limit), body=body, read_tokens=input_bound_tokens(body, 8000)
    )
    chosen = clamped(candidate, room)
    fitting = [length for length in range(1, limit) if cost(length) <= room]
    if cost(limit) <= room:
        assert chosen is candidate
    elif not fitting:
        assert chosen is None
    else:
        assert chosen is not None
        (length,) = set(chosen.clamped.values())
        assert length == max(fitting)
        assert chosen.body == {**body, **chosen.clamped}
        # Whichever a provider heeds, no answer is longer.
        assert max(chosen.body[name] for name in LIMITS if name in chosen.body) == length
        assert chosen.held_nanousd == cost(length) <= room
