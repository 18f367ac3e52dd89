"""A month of believable calls in a ledger: office hours, weekends, prompts that come again, afternoons of trouble."""

import asyncio
import math
import random
from collections.abc import Iterator
from pathlib import Path

import msgspec

from ledger.ceilings import DAY_MS, HOUR_MS, MINUTE_MS
from ledger.ledger import Ledger, open_ledger
from ledger.usage import Usage
from ledger.values import (
    AdmitRequest,
    AttemptResult,
    Bid,
    Ending,
    GenerationFacts,
    Hit,
    Lead,
    Lookup,
    NextAttempt,
    Settlement,
    StoredResponse,
    Storing,
)

DAYS = 30
BUSIEST_A_HOUR = 14
AT_ONCE = 64


class Kind(msgspec.Struct, frozen=True):
    """Calls of one workflow. tokens: in and out, typically; prompts: how many there are; share: of all calls."""

    workflow: str
    team: str
    key: str
    first: str
    second: str
    tokens: tuple[int, int]
    prompts: int
    share: float


class Deployment(msgspec.Struct, frozen=True):
    """prices: nano-dollars a token, in and out. ms: to the median answer and its first output."""

    prices: tuple[int, int]
    ms: tuple[int, int]


DEPLOYMENTS = {
    "anthropic:claude-sonnet-4-5": Deployment((3000, 15000), (4200, 900)),
    "openai:gpt-4o": Deployment((2500, 10000), (2900, 520)),
    "openai:gpt-4o-mini": Deployment((150, 600), (1500, 380)),
    "gemini:gemini-2.5-flash": Deployment((300, 2500), (1100, 340)),
    "local:smollm2": Deployment((0, 0), (2300, 260)),
}
SONNET, GPT, MINI, FLASH, SMOL = DEPLOYMENTS
KINDS = (
    Kind("support chat", "support", "support-bot", SONNET, GPT, (2400, 420), 9000, 3),
    Kind("summarise", "editorial", "newsroom", MINI, FLASH, (5200, 260), 500, 4),
    Kind("extract", "data", "pipeline", FLASH, MINI, (3100, 640), 250, 4),
    Kind("code review", "platform", "ci", GPT, SONNET, (7800, 700), 4000, 1.5),
    Kind("triage", "support", "support-bot", SMOL, MINI, (350, 30), 120, 2),
)


class Planned(msgspec.Struct, frozen=True, kw_only=True):
    """One call before it is made. bad: its first deployment is in trouble."""

    at_ms: int
    kind: Kind
    prompt: int
    usage: Usage
    slowness: float
    bad: bool


async def make_history(path: Path, until_ms: int) -> int:
    """Fill the ledger with the month before this moment; how many calls it is."""
    chance = random.Random(6)
    planned = [
        call for hour_ms in range(until_ms - DAYS * DAY_MS, until_ms, HOUR_MS) for call in _hour(chance, hour_ms)
    ]
    planned = sorted((call for call in planned if call.at_ms < until_ms), key=lambda call: call.at_ms)
    clock = {"ms": planned[0].at_ms}
    async with open_ledger(f"sqlite:{path}", clock_ms=lambda: clock["ms"], synchronous="normal") as ledger:
        for first in range(0, len(planned), AT_ONCE):
            batch = planned[first : first + AT_ONCE]
            clock["ms"] = batch[-1].at_ms
            await asyncio.gather(*(_make(ledger, call, number) for number, call in enumerate(batch, first)))
    return len(planned)


def _hour(chance: random.Random, hour_ms: int) -> Iterator[Planned]:
    hour, weekday = hour_ms // HOUR_MS % 24, (hour_ms // DAY_MS + 3) % 7
    office = math.exp(-(((hour - 13.5) / 4.5) ** 2))
    busy = (0.12 + office) * (0.35 if weekday >= 5 else 1) * (0.75 + 0.5 * chance.random())
    for _ in range(round(BUSIEST_A_HOUR * busy)):
        kind = chance.choices(KINDS, [kind.share for kind in KINDS])[0]
        # A few prompts are asked again and again, most of them seldom.
        prompt = int(kind.prompts * chance.random() ** 3)
        read, written = (max(1, round(typical * chance.lognormvariate(0, 0.35))) for typical in kind.tokens)
        yield Planned(
            at_ms=hour_ms + chance.randrange(HOUR_MS),
            kind=kind,
            prompt=prompt,
            usage=Usage(input_tokens=read, output_tokens=written),
            slowness=chance.lognormvariate(0, 0.45),
            bad=(weekday == 3 and 13 <= hour <= 16 and chance.random() < 0.45) or chance.random() < 0.012,
        )


async def _make(ledger: Ledger, call: Planned, number: int) -> None:
    kind = call.kind
    key = f"{kind.workflow} {call.prompt}".encode().ljust(32, b".")[:32]
    facts = GenerationFacts(
        generation_id=f"gen_{number:026}",
        created_at_ms=call.at_ms,
        route=kind.workflow.split(maxsplit=1)[0],
        stream=kind.workflow == "support chat",
        trace_id=f"{number:032x}",
        attribution={
            "key": kind.key,
            "team": kind.team,
            "user": f"u{number % 40}",
            "workflow": kind.workflow,
            "run": "",
        },
    )
    bids = tuple(_bid(deployment, call.usage) for deployment in (kind.first, kind.second))
    lookup = Lookup(cache_key=key, reads=True, joins=False)
    lead = await ledger.admit(AdmitRequest(facts=facts, lookup=lookup, bids=bids[:1], now_ms=call.at_ms))
    if isinstance(lead, Hit):
        return
    assert isinstance(lead, Lead), lead
    deployment = kind.first
    if call.bad:
        failed = _failed(lead, deployment, call)
        following = NextAttempt(facts=facts, closed=(failed,), attempt=2, bids=bids[1:], now_ms=call.at_ms)
        second = await ledger.hold_next(following)
        assert isinstance(second, Lead), second
        lead, deployment = second, kind.second
    result = _result(lead, deployment, call)
    ending = Ending(
        generation_id=facts.generation_id,
        outcome="ok",
        deployment=deployment,
        cost_basis="priced_usage",
        finished_at_ms=call.at_ms + result.latency_us // 1000,
        latency_us=result.latency_us,
    )
    response = StoredResponse(
        body=b"{}",
        deployment=deployment,
        cost_basis="priced_usage",
        cost_nanousd=_cost(deployment, call.usage),
        generation_id=facts.generation_id,
    )
    storing = Storing(cache_key=key, response=response, expires_at_ms=call.at_ms + 2 * DAY_MS)
    await ledger.settle(Settlement(attempts=(result,), ending=ending, storing=storing))


def _result(lead: Lead, deployment: str, call: Planned) -> AttemptResult:
    whole_ms, first_ms = (round(ms * call.slowness) for ms in DEPLOYMENTS[deployment].ms)
    return AttemptResult(
        hold_id=lead.hold_id,
        outcome="ok",
        cost_nanousd=_cost(deployment, call.usage),
        cost_basis="priced_usage",
        usage=call.usage,
        price_version="",
        status=200,
        latency_us=min(whole_ms, 2 * MINUTE_MS) * 1000,
        ttft_us=first_ms * 1000,
    )


def _failed(lead: Lead, deployment: str, call: Planned) -> AttemptResult:
    """It fell silent after it had read the prompt, which is charged as counted."""
    read = Usage(input_tokens=call.usage.input_tokens, output_tokens=0)
    return AttemptResult(
        hold_id=lead.hold_id,
        outcome="stalled",
        cost_nanousd=_cost(deployment, read),
        cost_basis="estimated",
        usage=read,
        price_version="",
        latency_us=MINUTE_MS * 1000,
    )


def _bid(deployment: str, usage: Usage) -> Bid:
    return Bid(deployment=deployment, held_nanousd=_cost(deployment, usage), price_version="")


def _cost(deployment: str, usage: Usage) -> int:
    dear, dearer = DEPLOYMENTS[deployment].prices
    return usage.input_tokens * dear + usage.output_tokens * dearer
