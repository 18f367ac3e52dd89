"""kill -9 at each step of a call under an Idempotency-Key: its repeat gets the paid answer, or makes one of its own.

Never two calls in flight under one living process, never a second call for an answer that was settled.
"""

import asyncio
import signal
from dataclasses import dataclass

import aiohttp
import pytest

from tests.faults.dying import LAPSED_WITHIN_S, Death, dying_serve
from tests.processes import one_route, run_farthing
from tests.upstream import scripted_upstream, stream

FACE = "ledger.store.ledger:StoreLedger."
LEDGER = "ledger.store.ledger:"
SETTLE = f"{LEDGER}settle_together"
PIECES = ["Four ", "farthings ", "make ", "a penny."]


@dataclass(frozen=True)
class Step:
    """Where the first try dies, and its fate: is its result `replayed`, and how many calls the provider sees in all."""

    death: Death
    replayed: bool
    sent: int
    orphans: bool = True


STEPS = {
    "admitted, not committed": Step(
        Death(at=f"{LEDGER}admit_together", returning="Lead"), replayed=False, sent=1, orphans=False
    ),
    "admitted and committed, nothing sent": Step(Death(at=f"{FACE}admit", returning="Lead"), replayed=False, sent=1),
    "answered, settlement not begun": Step(Death(at=f"{FACE}settle", when="before"), replayed=False, sent=2),
    "settled, not committed": Step(Death(at=SETTLE), replayed=False, sent=2),
    "settled and committed, the caller not told": Step(Death(at=f"{FACE}settle"), replayed=True, sent=1, orphans=False),
}


async def ask(service, key, *, streams=False, http=None, **steering):
    headers = {"Idempotency-Key": key, "x-farthing-cache": "bypass", **steering}
    body = {"model": "chat", "prompt": f"prompt of {key}", "params": {"max_tokens": 50}, "stream": streams}
    async with (http or service.http).post(f"{service.url}/generate", json=body, headers=headers) as answer:
        return answer.status, dict(answer.headers), await answer.read()


async def ask_and_lose(service, key, **named):
    """A first try, of which its caller never learns the end."""
    with pytest.raises((aiohttp.ClientError, ConnectionError)):
        await ask(service, key, **named)
    assert await service.ended() == -signal.SIGKILL


async def ask_until_told(service, key, **named):
    """A repeat, as a client makes it: again while the first is said to be in progress. The answer, and how often."""
    refused = 0
    async with asyncio.timeout(LAPSED_WITHIN_S):
        while True:
            status, headers, body = await ask(service, key, **named)
            if status != 409:
                return status, headers, body, refused
            refused += 1
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("streams", [False, True])
async def test_whatever_step_the_first_try_died_at_its_repeat_is_answered_and_nothing_is_bought_twice(home, streams):
    # What a caller was sent of a stream before its end makes no difference; where its end was settled, it might.
    steps = {name: step for name, step in STEPS.items() if step.replayed or not streams}
    async with scripted_upstream() as upstream:
        upstream.default = stream(PIECES)
        config = one_route(upstream.url, limit_usd="1000")
        async with dying_serve(home, config=config) as survivor:
            repeats = {}
            for name, step in steps.items():
                async with dying_serve(home, death=step.death) as victim:
                    await ask_and_lose(victim, name, streams=streams)
                repeats[name] = asyncio.create_task(ask_until_told(survivor, name, streams=streams))
            for name, step in steps.items():
                status, headers, body, refused = await repeats[name]
                assert (status, "idempotent-replayed" in headers) == (200, step.replayed), (name, body)
                assert all(word.strip().encode() in body for word in PIECES)
                assert (refused > 0) == step.orphans, name
                assert asked_for(upstream, name) == step.sent, name
                again = await ask(survivor, name, streams=streams)
                assert (again[0], again[2]) == (200, body)
                assert asked_for(upstream, name) == step.sent, name
            survivor.terminate()
            assert await survivor.ended() == 0
    code, out, _ = await run_farthing(home.folder, "verify", environ=home.environ)
    assert code == 0, out


def asked_for(upstream, name):
    """How many calls for this prompt the provider saw."""
    return sum(request.body["messages"][0]["content"] == f"prompt of {name}" for request in upstream.requests)


@pytest.mark.parametrize("deaths", [3, pytest.param(60, marks=pytest.mark.soak)])
async def test_while_processes_die_all_who_ask_under_one_key_are_told_the_same(home, deaths):
    told: dict[str, set[bytes]] = {}
    is_over = asyncio.Event()
    async with scripted_upstream() as upstream:
        upstream.default = stream(PIECES)
        config = one_route(upstream.url, limit_usd="1000")
        async with dying_serve(home, config=config) as survivor:
            services = [survivor, survivor]
            callers = [asyncio.create_task(keep_asking(services, told, offset, is_over)) for offset in range(3)]
            for number in range(deaths):
                death = Death(at=f"{FACE}settle", when=("after", "before")[number % 2], nth=2 + number % 3)
                async with dying_serve(home, death=death) as victim:
                    services[1] = victim
                    assert await victim.ended() == -signal.SIGKILL
                    services[1] = survivor
            is_over.set()
            await asyncio.gather(*callers)
            survivor.terminate()
            assert await survivor.ended() == 0
    assert [key for key, bodies in told.items() if len(bodies) != 1] == []
    # A try that died before it was settled is made again, by one of at most three that were under way; nothing else is.
    assert len(told) <= len(upstream.requests) <= len(told) + deaths * 3
    code, out, _ = await run_farthing(home.folder, "verify", environ=home.environ)
    assert code == 0, out


async def keep_asking(services, told, offset, is_over):
    """Ask for key after key, at one process and, if it dies, at the other; in the end for all that anybody did."""
    number, http = 0, services[0].http
    while not is_over.is_set() or number < len(told):
        key = f"key {number}"
        bodies = told.setdefault(key, set())
        try:
            status, _, body, _ = await ask_until_told(services[(number + offset) % 2], key, http=http)
        except (aiohttp.ClientError, ConnectionError):
            status, _, body, _ = await ask_until_told(services[0], key)
        assert status == 200, body
        bodies.add(body)
        number += 1


async def test_sixty_at_once_at_two_processes_are_one_call_with_one_result(home):
    gate = asyncio.Event()
    async with scripted_upstream() as upstream:
        upstream.plays(stream([gate, *PIECES]))
        config = one_route(upstream.url)
        async with dying_serve(home, config=config) as one, dying_serve(home) as other:
            calls = [asyncio.create_task(ask(service, "the same")) for service in (one, other) * 30]
            told = []
            for call in asyncio.as_completed(calls):
                told.append(await call)
                if len(told) == 59:
                    # All but the one that has the key; now it may end.
                    gate.set()
            assert [status for status, _, _ in told] == [409] * 59 + [200]
            for service in (one, other):
                status, headers, body = await ask(service, "the same")
                assert (status, headers["idempotent-replayed"], body) == (200, "true", told[-1][2])
            assert len(upstream.requests) == 1


async def test_a_follower_and_a_hit_that_were_settled_are_told_again_by_another_process(home):
    use = {"x-farthing-cache": "use"}
    gate = asyncio.Event()
    async with scripted_upstream() as upstream:
        upstream.plays(stream([PIECES[0], gate, *PIECES[1:]]))
        config = one_route(upstream.url)
        async with dying_serve(home, config=config) as survivor:
            async with dying_serve(home, death=Death(at=f"{FACE}record_follower")) as victim:
                leader = asyncio.create_task(same(victim, "leader", **use))
                await upstream.until(lambda it: len(it.requests) == 1)
                follower = asyncio.create_task(same(victim, "follower", **use))
                await until_refused(survivor, "follower", **use)
                gate.set()
                await asyncio.gather(leader, follower, return_exceptions=True)
                assert await victim.ended() == -signal.SIGKILL
            async with dying_serve(home, death=Death(at=f"{FACE}admit", returning="Replay")) as victim:
                with pytest.raises((aiohttp.ClientError, ConnectionError)):
                    await same(victim, "hit", **use)
                assert await victim.ended() == -signal.SIGKILL
            for key, cache in (("leader", "miss"), ("follower", "coalesced"), ("hit", "hit")):
                status, headers, body = await same(survivor, key, **use)
                assert (status, headers["x-farthing-cache"]) == (200, cache), body
                assert headers["idempotent-replayed"] == "true"
            assert len(upstream.requests) == 1
    code, out, _ = await run_farthing(home.folder, "verify", environ=home.environ)
    assert code == 0, out


async def same(service, key, **headers):
    """The same request under another key."""
    body = {"model": "chat", "prompt": "for all", "params": {"max_tokens": 50}}
    async with service.http.post(
        f"{service.url}/generate", json=body, headers={"Idempotency-Key": key, **headers}
    ) as answer:
        return answer.status, dict(answer.headers), await answer.read()


async def until_refused(service, key, **headers):
    """Wait until a key is taken, asking as one does who may not lead: a mode of `only` under it is another request."""
    async with asyncio.timeout(LAPSED_WITHIN_S):
        while (await same(service, key, **{**headers, "x-farthing-cache": "only"}))[0] != 422:
            await asyncio.sleep(0.02)
