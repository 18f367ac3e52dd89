"""What one process promises, several on the same ledger promise together."""

import asyncio
import os
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from multiprocessing import Pipe
from multiprocessing.connection import Connection as PipeEnd
from pathlib import Path
from typing import Any

import pytest

from ledger.sqlite.turns import Turns
from tests.faults.campaign import Campaign, config, plays
from tests.faults.dying import dying_serve
from tests.forked import fork_context
from tests.ledger.homes import Home, SqliteHome
from tests.processes import START_WITHIN_S, Service, farthing_serve
from tests.scripts import Script
from tests.upstream import Connection, Request, ScriptedUpstream, hang, scripted_upstream, status, stream

SERVICES = {"sqlite": 2, "postgresql": 3}
TURNS = 300
TURNS_TAKE_S = 60
# So few may wait for more than one turn of the other. With one lock it is every fifth.
LONGER_SHARE = 0.05
# And none for more than those that the other squeezes in before a process that was woken is running.
OTHERS_TURNS = 25
# A machine may stop one of them just after it said that it asks, and before it does. Not each time.
ROUNDS = 5
CANARY = {"error": {"message": "canary of a prompt", "type": "some_error", "code": "some_code"}}


def a_gate() -> tuple[asyncio.Event, Any]:
    gate = asyncio.Event()

    async def once_open(connection: Connection, request: Request) -> None:
        await gate.wait()
        await plays(connection, request)

    return gate, once_open


@asynccontextmanager
async def services(home: Home, upstream: ScriptedUpstream) -> AsyncIterator[list[Service]]:
    """Two on a file, three replicas on a server."""
    async with AsyncExitStack() as stack:
        first = dying_serve(home, config=config(upstream.url))
        others = [dying_serve(home) for _ in range(SERVICES[home.engine] - 1)]
        yield [await stack.enter_async_context(opened) for opened in (first, *others)]


async def test_sixty_equal_calls_at_all_processes_are_one_call_and_later_ones_are_hits_at_each(home: Home):
    gate, once_open = a_gate()
    async with scripted_upstream() as upstream:
        upstream.default = once_open
        campaign = Campaign(home, upstream)
        async with services(home, upstream) as all_of_them:
            asked = [
                asyncio.create_task(campaign.call(service, "chat", "the same", stream=number % 2 > 0))
                for number in range(60 // len(all_of_them))
                for service in all_of_them
            ]
            await upstream.until(lambda it: len(it.requests) == 1)
            gate.set()
            told = Counter(whole["cache"] for whole in await asyncio.gather(*asked))
            assert told["miss"] == 1
            assert told["coalesced"] >= 60 // len(all_of_them) - 1 - told["hit"]
            assert sum(told.values()) == 60
            for service in all_of_them:
                assert (await campaign.call(service, "chat", "the same", stream=False))["cache"] == "hit"
                service.terminate()
                assert await service.ended() == 0
        assert len(upstream.requests) == 1
        campaign.audit()


async def test_sixty_equal_calls_whose_leader_is_killed_are_two_calls(home: Home):
    async with scripted_upstream() as upstream:
        upstream.plays(hang())
        upstream.default = plays
        campaign = Campaign(home, upstream)
        async with services(home, upstream) as (victim, *survivors):
            each = 60 // (1 + len(survivors))
            lead = asyncio.create_task(campaign.call(victim, "chat", "the same", stream=False))
            await upstream.until(lambda it: len(it.requests) == 1)
            others = [
                asyncio.create_task(campaign.call(service, "chat", "the same", stream=number % 2 > 0))
                for number in range(each)
                for service in (*survivors, victim)
            ]
            await asyncio.gather(*(service.get("/router/status") for service in (*survivors, victim)))
            victim.kill()
            ends = await asyncio.gather(lead, *others, return_exceptions=True)
            told = Counter(end["cache"] for end in ends if isinstance(end, dict))
            assert told["miss"] == 1
            assert sum(told.values()) == each * len(survivors)
            await campaign.at_rest()
            for service in survivors:
                service.terminate()
                assert await service.ended() == 0
        assert len(upstream.requests) == 2
        campaign.audit()


@pytest.mark.parametrize(
    ("script", "told", "code"),
    [(status(500, CANARY), 502, "upstream_failed"), (status(400, CANARY), 400, "upstream_rejected")],
    ids=["failed", "rejected"],
)
async def test_sixty_equal_calls_at_two_processes_whose_provider_fails_are_one_call(
    home: Home, script: Script, told: int, code: str
):
    gate = asyncio.Event()

    async def once_open(connection: Connection, request: Request) -> None:
        await gate.wait()
        await script(connection, request)

    async def ask(service: Service, number: int) -> tuple[int, dict[str, Any]]:
        body = {"model": "first alone", "prompt": "the same", "params": {"max_tokens": 20}, "stream": number % 2 > 0}
        # Their keys show in the ledger that all of them wait before the provider says a word.
        headers = {"Idempotency-Key": f"{number} at {service.url}"}
        async with service.http.post(f"{service.url}/generate", json=body, headers=headers) as answer:
            return answer.status, await answer.json(content_type=None)

    async with scripted_upstream() as upstream:
        upstream.default = once_open
        campaign = Campaign(home, upstream)
        async with dying_serve(home, config=config(upstream.url)) as one, dying_serve(home) as other:
            for service in (one, other):  # Who listens has not made its ledger yet.
                await service.get("/health/live")
            asking = [asyncio.create_task(ask(service, n)) for n in range(30) for service in (one, other)]
            asked = "SELECT generation_id FROM idempotency WHERE state = 'in_progress'"
            await home.until(asked, lambda rows: len(rows) == 60, within_s=START_WITHIN_S)
            gate.set()
            ends = await asyncio.gather(*asking)
            assert Counter((status, problem["code"]) for status, problem in ends) == {(told, code): 60}
            attempts = [[(it["outcome"], it["status"]) for it in problem["attempts"]] for _, problem in ends]
            assert attempts == [[attempts[0][0]]] * 60
            for service in (one, other):
                service.terminate()
                assert await service.ended() == 0
        assert len(upstream.requests) == 1
        outcomes = "SELECT cache, COUNT(*), COUNT(DISTINCT outcome) FROM generations GROUP BY cache ORDER BY cache"
        assert campaign.rows(outcomes) == [("coalesced", 59, 1), ("miss", 1, 1)]
        ((failure,),) = campaign.rows("SELECT failure FROM failed_flights")
        assert b"canary" not in failure, "the provider's words may quote the prompt"
        campaign.audit()


async def test_two_workers_drain_together_and_the_service_leaves_in_good_order(sqlite_home: SqliteHome):
    gate = asyncio.Event()
    async with scripted_upstream() as upstream:
        upstream.default = stream(["begun ", gate, "ended"], prompt_tokens=3, completion_tokens=2)
        campaign = Campaign(sqlite_home, upstream)
        async with farthing_serve(
            sqlite_home.folder, "--workers", "2", config=config(upstream.url), installed=True
        ) as service:
            calls = [
                asyncio.create_task(campaign.call(service, "chat", f"long {number}", stream=True))
                for number in range(20)
            ]
            # Whoever starts them may be busy.
            await upstream.until(lambda it: len(it.requests) == 20, within_s=START_WITHIN_S)
            service.terminate()
            gate.set()
            assert {whole["cost_nanousd"] for whole in await asyncio.gather(*calls)} == {7000}
            assert await service.ended() == 0
        assert len(campaign.rows("SELECT 1 FROM owners")) == 0, "both gave their lease back"
        campaign.audit()


async def test_two_busy_processes_take_turns(tmp_path: Path):
    for _ in range(ROUNDS):
        waits = await waits_of_two(tmp_path)
        longer = sum(wait > 1 for wait in waits)
        if is_fair := longer <= LONGER_SHARE * len(waits) and max(waits) <= OTHERS_TURNS:
            break
    assert is_fair, Counter(waits)


async def waits_of_two(folder: Path) -> list[int]:
    """How many turns of the other each process waited for, turn by turn."""
    (folder / "log").write_bytes(b"")
    context, children = fork_context(), []
    for name in "ab":
        reading, writing = Pipe()
        child = context.Process(target=take_turns, args=(str(folder), name, writing), daemon=True)
        child.start()
        children.append((child, reading))
    for _, reading in children:
        assert await asyncio.to_thread(reading.poll, START_WITHIN_S), "it is there"
    for _, reading in children:
        reading.send("go")
    for child, reading in children:
        await asyncio.to_thread(child.join, TURNS_TAKE_S)
        assert child.exitcode == 0
        reading.close()
        child.close()
    events = (folder / "log").read_text().split()
    assert Counter(events) == {f"{name}{what}": TURNS for name in "ab" for what in ("?", "!")}
    last = min(len(events) - 1 - events[::-1].index(f"{name}!") for name in "ab")
    return [
        sum(event == f"{other}!" for event in events[asked : events.index(f"{name}!", asked)])
        for name, other in ("ab", "ba")
        for asked, event in enumerate(events[:last])
        if event == f"{name}?"
    ]


def take_turns(folder: str, name: str, parent: PipeEnd) -> None:
    """What a busy writer does: ask, have its turn, ask again. Each is noted in the order that it happened in."""
    turns = Turns(Path(folder) / "farthing.db")
    with (Path(folder) / "log").open("a", buffering=1) as log:
        parent.send("here")
        parent.recv()
        for _ in range(TURNS):
            log.write(f"{name}?\n")
            with turns.take():
                log.write(f"{name}!\n")
                os.fsync(log.fileno())
    turns.close()
