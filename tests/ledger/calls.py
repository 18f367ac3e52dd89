"""Small builders for ledger requests, so that a test says only what matters to it."""

import itertools
from contextlib import asynccontextmanager

from ledger.ledger import open_ledger
from ledger.usage import Usage
from ledger.values import (
    AdmitRequest,
    AttemptResult,
    Bid,
    CacheBounds,
    Ending,
    GenerationFacts,
    IdempotencyKey,
    Lead,
    Lookup,
    Settlement,
    StoredResponse,
    Storing,
)

BEGAN_MS = 1_795_000_000_000
_numbers = itertools.count(1)


class Clock:
    """Wall time that only tests move."""

    def __init__(self, at_ms=BEGAN_MS):
        self.at_ms = at_ms

    def __call__(self):
        return self.at_ms


def url_of(home):
    """Of a home (`tests.ledger.homes`), or of a file in a folder."""
    return home.url if hasattr(home, "url") else f"sqlite:{home / 'farthing.db'}"


@asynccontextmanager
async def a_ledger(home, *, clock=None, bounds=None, ceilings=(), slice_above_per_s=0):
    clock = clock or Clock()
    async with open_ledger(
        url_of(home), clock_ms=clock, cache_bounds=bounds or CacheBounds(), slice_above_per_s=slice_above_per_s
    ) as ledger:
        await ledger.configure_ceilings(tuple(ceilings))
        yield ledger


def key_of(text):
    return text.encode().ljust(32, b".")


def a_call(
    *,
    held=1000,
    deployment="p:m",
    key=None,
    now_ms=BEGAN_MS,
    generation_id=None,
    reads=True,
    joins=True,
    bids=None,
    idempotency=None,
):
    number = next(_numbers)
    facts = GenerationFacts(
        generation_id=generation_id or f"gen_{number:06}",
        created_at_ms=now_ms,
        route="chat",
        stream=False,
        trace_id="0" * 32,
        attribution={"key": "", "team": "", "user": "u1", "workflow": "w", "run": ""},
    )
    lookup = None if key is None else Lookup(cache_key=key_of(key), reads=reads, joins=joins)
    return AdmitRequest(
        facts=facts,
        lookup=lookup,
        bids=bids if bids is not None else (Bid(deployment=deployment, held_nanousd=held, price_version="v1"),),
        now_ms=now_ms,
        idempotency=idempotency,
    )


def an_idempotency_key(key="key", *, body="body", caller=""):
    return IdempotencyKey(caller=caller, key=key, fingerprint=key_of(body))


def a_result(
    lead: Lead, *, cost=400, outcome="ok", basis="priced_usage", usage=None, status=None, latency_us=1000, ttft_us=None
):
    return AttemptResult(
        hold_id=lead.hold_id,
        outcome=outcome,
        cost_nanousd=cost,
        cost_basis=basis,
        usage=usage or Usage(input_tokens=3, output_tokens=2),
        price_version="v1",
        status=status,
        latency_us=latency_us,
        ttft_us=ttft_us,
    )


def an_ending(request: AdmitRequest, *, outcome="ok", deployment="p:m", saved=0, now_ms=None):
    return Ending(
        generation_id=request.facts.generation_id,
        outcome=outcome,
        deployment=deployment,
        cost_basis="priced_usage",
        finished_at_ms=now_ms or request.now_ms,
        latency_us=1000,
        saved_nanousd=saved,
    )


def a_settlement(request, lead, *, ttl_ms=60_000, body=b"answer", stores=True, **result):
    outcome = result.get("outcome", "ok")
    storing = None
    if stores and request.lookup is not None and outcome == "ok":
        response = StoredResponse(
            body=body,
            deployment="p:m",
            cost_basis="priced_usage",
            cost_nanousd=result.get("cost", 400) or 0,
            generation_id=request.facts.generation_id,
        )
        storing = Storing(cache_key=request.lookup.cache_key, response=response, expires_at_ms=request.now_ms + ttl_ms)
    return Settlement(
        attempts=(a_result(lead, **result),),
        ending=an_ending(request, outcome=outcome),
        flight=request.lookup.cache_key if request.lookup is not None and request.lookup.joins else None,
        storing=storing,
    )


async def admit_and_settle(ledger, request, **result):
    lead = await ledger.admit(request)
    assert isinstance(lead, Lead), lead
    await ledger.settle(a_settlement(request, lead, **result))
    return lead
