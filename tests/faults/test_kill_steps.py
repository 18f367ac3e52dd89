"""kill -9 at each step of a call, while another process works on the same ledger: the books agree with both witnesses.

The witnesses are the upstream, which knows what it was asked, and the callers, who know what they were told.
"""

import asyncio
import itertools
import signal
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import aiohttp
import pytest

from tests.faults.campaign import Campaign, config, plays
from tests.faults.dying import Death, dying_serve
from tests.ledger.homes import Home, SqliteHome
from tests.processes import Service
from tests.upstream import Connection, Request, answer, hang, hang_after_headers, scripted_upstream, stream

TIMES = {"sqlite": 5, "postgresql": 2}
NTHS = {"sqlite": (1, 2, 4, 7, 11), "postgresql": (2,)}
MORE = {"sqlite": (1, 2, 4, 7, 11, 6, 7, 9, 12, 16, 11, 12, 14, 17, 21), "postgresql": (1, 2, 4, 7, 11)}
LEDGER = "ledger.store.ledger:"
FACE = f"{LEDGER}StoreLedger."
SERVERS = "ledger.postgres.ledger:"
ADMIT = f"{LEDGER}admit_together"
SETTLE = f"{LEDGER}settle_together"
COMMIT = {"sqlite": "ledger.sqlite.writer:_commit_in_turn", "postgresql": "ledger.postgres.store:run_batch"}
ADMITTED = {"sqlite": f"{FACE}admit", "postgresql": f"{SERVERS}PostgresLedger.admit"}
# What of a call's way is told by one of our functions: `admit` and its like run inside the transaction.
STEPS = {
    "between admission and sending": {
        "admitted, not committed": Death(at=ADMIT, returning="Lead"),
        "committed, nobody is told": Death(at=COMMIT),
        "admitted and committed, nothing is sent": Death(at=ADMITTED, returning="Lead"),
    },
    "between two attempts": {
        "the next one has its hold, not committed": Death(at=f"{LEDGER}hold_next"),
        "its hold is committed, nothing is sent": Death(at=f"{FACE}hold_next"),
    },
    "between the answer and the last byte": {
        "the answer is whole, its settlement not begun": Death(at=f"{FACE}settle", when="before"),
        "settled, not committed": Death(at=SETTLE),
        "settled and committed, the caller not told": Death(at=f"{FACE}settle"),
    },
    "while an answer is shared": {
        "a hit is recorded, not committed": Death(at=ADMIT, returning="Hit"),
        "a hit is committed, its caller not told": Death(at=ADMITTED, returning="Hit"),
        "a follower is recorded, not committed": Death(at=f"{LEDGER}record_follower"),
        "a follower is committed, its caller not told": Death(at=f"{FACE}record_follower"),
    },
}


@pytest.mark.parametrize("nths", [NTHS, pytest.param(MORE, marks=pytest.mark.soak)], ids=["some", "many"])
@pytest.mark.parametrize("part", STEPS)
async def test_a_process_that_dies_at_any_step_loses_nothing_and_charges_nothing_twice(
    home: Home, part: str, nths: Mapping[str, tuple[int, ...]]
):
    async with scripted_upstream() as upstream:
        upstream.default = plays
        campaign = Campaign(home, upstream)
        async with dying_serve(home, config=config(upstream.url)) as survivor:
            others = asyncio.create_task(campaign.load(survivor))
            for death, (number, nth) in itertools.product(STEPS[part].values(), enumerate(nths[home.engine])):
                await die_under_load(campaign, replace(death, nth=nth), callers=1 + number % 5)
            await end_well(campaign, survivor, others)


async def test_a_process_that_dies_within_a_checkpoint_leaves_it_to_be_done_again(sqlite_home: SqliteHome):
    async with scripted_upstream() as upstream:
        # A few dozen of these fill the WAL.
        upstream.default = answer("x" * 300_000, prompt_tokens=3, completion_tokens=2)
        campaign = Campaign(sqlite_home, upstream)
        async with dying_serve(sqlite_home, config=config(upstream.url)) as survivor:
            for share in (0.1, 0.3, 0.5, 0.7, 0.9):
                death = Death(at="ledger.sqlite.checkpoint:Checkpoints.run", when="inside", share=share)
                await die_under_load(campaign, death, callers=3, of=signal.SIGXFSZ)
            await end_well(campaign, survivor)


async def die_under_load(campaign: Campaign, death: Death, *, callers: int, of: int = signal.SIGKILL) -> None:
    """One process with this many callers, until it dies."""
    async with dying_serve(campaign.home, death=death) as victim:
        load = [asyncio.create_task(campaign.load(victim, pairs=(number + 1) % 2)) for number in range(callers)]
        assert await victim.ended() == -of, death
        await asyncio.gather(*load)


async def end_well(campaign: Campaign, survivor: Service, *loads: asyncio.Task[None]) -> None:
    """Let the load end, the dead's holds lapse and the survivor drain; then audit."""
    campaign.is_over = True
    await asyncio.gather(*loads)
    await campaign.at_rest()
    await campaign.audit_repeats(survivor)
    survivor.terminate()
    assert await survivor.ended() == 0
    campaign.audit()


PLACES = {
    "the request is sent": hang(),
    "the head of the answer has come": hang_after_headers(),
    "the answer is half here": stream(["half ", "of ", "it"], then="hang"),
}


@pytest.mark.parametrize("place", PLACES)
async def test_a_process_that_dies_while_the_provider_answers_is_charged_and_its_followers_get_an_answer(
    home: Home, place: str
):
    async with scripted_upstream() as upstream:
        stuck: set[str] = set()

        async def once(connection: Connection, request: Request) -> None:
            prompt = request.body["messages"][0]["content"]
            is_first = prompt.startswith("stuck") and prompt not in stuck
            stuck.add(prompt)
            await (PLACES[place] if is_first else plays)(connection, request)

        upstream.default = once
        campaign = Campaign(home, upstream)
        async with dying_serve(home, config=config(upstream.url)) as survivor:
            followers: list[asyncio.Task[dict[str, Any]]] = []
            for number in range(TIMES[home.engine]):
                prompts = [f"stuck {number} {n}" for n in range(1 + number % 2)]
                async with dying_serve(home) as victim:
                    led = calls(campaign, victim, prompts, stream=number % 3 > 0)
                    await upstream.until(lambda _, prompts=prompts: stuck.issuperset(prompts))
                    followers += calls(campaign, survivor, prompts * 2, stream=number % 2 > 0)
                    # By the time these are answered, what was there to be read before them has been read.
                    await asyncio.gather(victim.get("/router/status"), survivor.get("/router/status"))
                    victim.kill()
                    await lost(led)
            told = await asyncio.gather(*followers)
            assert Counter(whole["cache"] == "miss" for whole in told) == {True: len(stuck), False: len(stuck)}
            await end_well(campaign, survivor)
        assert len(upstream.requests) == 2 * len(stuck), "one call of the dead, one of whoever took its place"
        lapsed = campaign.rows("SELECT COUNT(*) FROM postings WHERE kind = 'lapse' AND cost_basis = 'unknown'")
        assert lapsed == [(len(stuck),)]


def calls(campaign: Campaign, service: Service, prompts: list[str], *, stream: bool) -> list[asyncio.Task[Any]]:
    """All of them at once."""
    return [asyncio.create_task(campaign.call(service, "chat", prompt, stream=stream)) for prompt in prompts]


async def lost(calls: list[asyncio.Task[Any]]) -> None:
    """Their service is gone, and so are they."""
    ends = await asyncio.gather(*calls, return_exceptions=True)
    assert all(isinstance(end, aiohttp.ClientError) for end in ends), ends


async def test_a_process_that_dies_while_its_calls_follow_another_ones_leaves_that_alone(home: Home):
    gate = asyncio.Event()

    async def once_open(connection: Connection, request: Request) -> None:
        await gate.wait()
        await plays(connection, request)

    async with scripted_upstream() as upstream:
        upstream.default = once_open
        campaign = Campaign(home, upstream)
        async with dying_serve(home, config=config(upstream.url)) as survivor:
            prompts = [f"led {number}" for number in range(TIMES[home.engine])]
            leaders = calls(campaign, survivor, prompts, stream=False)
            await upstream.until(lambda it: len(it.requests) == TIMES[home.engine])
            for number in range(TIMES[home.engine]):
                death = Death(at=f"{FACE}flight_is_over", when="before", nth=1 + 2 * number)
                async with dying_serve(home, death=death) as victim:
                    following = calls(campaign, victim, prompts, stream=number % 2 > 0)
                    assert await victim.ended() == -signal.SIGKILL
                    await lost(following)
            gate.set()
            assert {whole["cache"] for whole in await asyncio.gather(*leaders)} == {"miss"}
            await end_well(campaign, survivor)
        assert len(upstream.requests) == TIMES[home.engine]
        assert campaign.rows("SELECT COUNT(*) FROM generations WHERE cache <> 'hit'") == [(TIMES[home.engine],)]
