"""Many tasks in a process of its own that spend at random on a shared ledger, and say what they were told."""

import asyncio
import random
from collections import Counter
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import msgspec
import uvloop

from ledger.ceilings import Ceiling, CeilingTable, window_span
from ledger.usage import Usage
from ledger.values import Bid, Lead, Refused
from tests.ledger.calls import BEGAN_MS, a_call, a_ledger, a_settlement

DEPLOYMENTS = ("p:a", "p:b", "q:a")
LOOKS_EVERY = 20


@dataclass
class Told:
    """What a process was told: charged, by ceiling, and how many were admitted and refused."""

    charged: Counter[str] = field(default_factory=Counter)
    admitted: int = 0
    refused: int = 0


def run_stress(
    folder: str, ceilings: tuple[Ceiling, ...], seed: int, tasks: int, calls: int, told: Connection, *, is_planted: bool
) -> None:
    """What the child does. is_planted: with a check that is not in the transaction that takes the room.

    Costs are 0 to 130 % of their holds; where the check is planted, no more than the hold: no overrun excuses them.
    """
    if is_planted:
        plant_check_then_act()
    most_percent = 100 if is_planted else 130
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        told.send(runner.run(_stress(Path(folder), ceilings, seed, tasks, calls, most_percent)))


async def _stress(
    folder: Path, ceilings: tuple[Ceiling, ...], seed: int, tasks: int, calls: int, most_percent: int
) -> Told:
    told = Told()
    async with a_ledger(folder, ceilings=ceilings) as ledger, asyncio.TaskGroup() as group:
        for task in range(tasks):
            name = f"{seed}_{task}"
            group.create_task(_caller(ledger, CeilingTable(ceilings), name, calls, most_percent, told))
    return told


async def _caller(ledger: Any, table: CeilingTable, name: str, calls: int, most_percent: int, told: Told) -> None:
    draw = random.Random(name)
    for number in range(calls):
        deployment, held, tokens = draw.choice(DEPLOYMENTS), draw.randint(500, 1500), draw.randint(50, 150)
        bid = Bid(deployment=deployment, held_nanousd=held, held_tokens=tokens, price_version="v1")
        request = a_call(bids=(bid,), generation_id=f"gen_{name}_{number}")
        who = {"user": f"u{draw.randrange(4)}", "workflow": f"w{draw.randrange(3)}"}
        facts = msgspec.structs.replace(request.facts, attribution={**request.facts.attribution, **who})
        request = msgspec.structs.replace(request, facts=facts)
        lead = await ledger.admit(request)
        if isinstance(lead, Refused):
            told.refused += 1
            continue
        assert isinstance(lead, Lead)
        told.admitted += 1
        await asyncio.sleep(draw.random() * 0.01)
        cost = None if draw.random() < 0.1 else held * draw.randint(0, most_percent) // 100
        used = 0 if cost is None else tokens * draw.randint(0, most_percent) // 100
        outcome = "ok" if cost is not None else "rejected"
        await ledger.settle(a_settlement(request, lead, cost=cost, outcome=outcome, usage=Usage(input_tokens=used)))
        came_to = {"nanousd": cost or 0, "tokens": used, "calls": 1, "attempts": int(cost is not None)}
        for ceiling in table.for_attempt(deployment, facts.attribution):
            told.charged[ceiling.id] += came_to[ceiling.counts]


def plant_check_then_act() -> None:
    """Have this process look for room at every LOOKS_EVERYth call, and act on what was seen then."""
    from ledger.operations import admit
    from ledger.operations.room import Room

    find_room, looks = admit.find_room, {"made": 0, "found": True}

    def look_now_and_then(db: Any, bid: Bid, ceilings: list[Ceiling], now_ms: int, **more: Any) -> Any:
        found = find_room(db, bid, ceilings, now_ms, **more)
        if looks["made"] % LOOKS_EVERY == 0:
            looks["found"] = not isinstance(found, Refused)
        looks["made"] += 1
        if looks["found"]:
            return [
                Room(it.id, window_span(it.window, BEGAN_MS).starts_at_ms, bid.asks(it.counts), None) for it in ceilings
            ]
        return found

    admit.find_room = look_now_and_then
