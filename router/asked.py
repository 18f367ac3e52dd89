"""One call while it is being admitted, and what it shares with equal calls."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import msgspec

from ledger.values import Body, Follow, GenerationFacts, Lead, Lookup, StoredElsewhere
from router.cachekey import cache_key, shown_key
from router.call import Attribution, Call
from router.deployments import Route
from router.errors import DeadlineExceeded, RouterError
from router.flights import Flight
from router.hedging import is_repeatable
from router.journey import Event, Facts, Journey
from router.lines import Line
from router.ordering import Turn
from router.plan import Candidate
from telemetry import names


class Asked(msgspec.Struct, kw_only=True):
    """One call while it is being admitted. candidates empty: it may not go out, because of `refusal`.

    behind: the ceiling that others wait for, before whom it takes no room. line: where it is the first, itself.
    skips_line: there was none for it. clamps: how often its answer was made shorter.
    is_planned: its candidates were looked for. prompt_tokens: counted where it may be too long for a deployment.
    turn: what it took from its weighted route's other calls, to be given back unless it leads.
    pressed_by: the nearly full ceiling for whose sake it goes to a cheaper target first.
    was_paced: it waited until its provider wanted to be asked again.
    queued_s: how long it stood in line for room, or waited for its provider's word, before it was admitted.
    has_followed: it was told to follow another call, and has taken its Idempotency-Key, if any, without leading.
    events: what its trace says of it before it leads.
    """

    call: Call
    route: Route
    facts: GenerationFacts
    lookup: Lookup | None
    storing_ttl_s: int | None
    replaces_stored: bool
    candidates: tuple[Candidate, ...]
    refusal: RouterError
    began_s: float
    began_at_ns: int
    deadline_s: float
    captures_content: bool
    is_planned: bool = True
    prompt_tokens: int | None = None
    turn: Turn | None = None
    pressed_by: str = ""
    missed: str = ""
    has_followed: bool = False
    was_paced: bool = False
    queued_s: float = 0.0
    behind: str = ""
    line: Line | None = None
    skips_line: bool = False
    clamps: int = 0
    events: list[Event] = []

    @contextmanager
    def queueing(self) -> Iterator[None]:
        """Within, it waits for others."""
        began_s = time.monotonic()
        try:
            yield
        finally:
            self.queued_s += time.monotonic() - began_s

    def give_up_stored(self) -> None:
        """What is stored cannot be read by this version: ask for a new answer, to take its place."""
        self.lookup = msgspec.structs.replace(self.shared, reads=False)
        self.replaces_stored = True

    def looked_for(self, stored: StoredElsewhere, body: bytes | None) -> None:
        """What came of looking for the body of what is stored. None: ask for an answer that is not this one."""
        if body is None:
            self.lookup = msgspec.structs.replace(self.shared, not_of=stored.generation_id)
        else:
            self.lookup = msgspec.structs.replace(self.shared, at_hand=Body(stored.checksum, body))

    def missed_leader(self, leader_id: str) -> None:
        """This process led the flight, but it is gone: once it just landed. Twice, its end was never kept: go alone."""
        if self.missed == leader_id:
            self.lookup = msgspec.structs.replace(self.shared, joins=False)
            self.replaces_stored = True
        self.missed = leader_id

    def too_late(self, waited_for: str) -> DeadlineExceeded:
        """Its deadline passed before it was admitted."""
        return DeadlineExceeded(
            elapsed_s=time.monotonic() - self.began_s, waited_for=waited_for, key=shown_key(self.lookup)
        )

    @property
    def shared(self) -> Lookup:
        """Its lookup, which it has if it was told of a flight or a stored answer."""
        assert self.lookup is not None
        return self.lookup


CacheScope = Literal["key", "team", "global"]


class SharingRules(msgspec.Struct, frozen=True, kw_only=True):
    """What equal calls share unless they ask otherwise. scope: whose."""

    cache_enabled: bool = True
    coalesce: bool = True
    ttl_s: int = 300
    scope: CacheScope = "key"


def lookup_of(call: Call, route: Route, sharing: SharingRules) -> tuple[Lookup | None, int | None, bool]:
    """What the call shares, for how long its answer may be stored (None: not at all), and whether over another."""
    mode = call.cache.mode
    enabled = sharing.cache_enabled if route.cache is None else route.cache
    joins = sharing.coalesce and mode == "use"
    if mode == "bypass" or not (enabled or joins):
        return None, None, False
    key = cache_key(
        kind=call.kind,
        scope=scope_of(call.attribution, sharing.scope),
        route=route.name,
        workflow=call.attribution.workflow,
        body=call.body,
        headers=call.forwarded_headers,
        body_bytes=call.body_bytes,
    )
    ttl_s = sharing.ttl_s if call.cache.ttl_s is None else call.cache.ttl_s
    lookup = Lookup(cache_key=key, reads=enabled and mode in {"use", "only"}, joins=joins)
    return lookup, (ttl_s if enabled and ttl_s > 0 else None), mode == "refresh"


def scope_of(who: Attribution, shared_by: CacheScope) -> str:
    """Who shares with whom, as a part of the cache key: equal for those who do. Without keys all do.

    A key of no team is a team of its own.
    """
    if shared_by == "global" or not who.key_id:
        return ""
    return f"team:{who.team}" if shared_by == "team" and who.team else f"key:{who.key_id}"


def journey_of(asked: Asked, flight: Flight, *, ledger_s: float) -> Journey:
    """The journey of a call that leads. ledger_s: how long its admission took."""
    return Journey(
        call=asked.call,
        route=asked.route.name,
        facts=asked.facts,
        lookup=asked.lookup,
        storing_ttl_s=asked.storing_ttl_s,
        replaces_stored=asked.replaces_stored,
        candidates=asked.candidates,
        flight=flight,
        began_s=asked.began_s,
        ledger_s=ledger_s,
        was_paced=asked.was_paced,
        queued_s=asked.queued_s,
        hedge=asked.route.hedge if len(asked.candidates) > 1 and is_repeatable(asked.call.body) else None,
    )


def admitted(asked: Asked, admission: Lead | Follow, ledger_s: float) -> Event:
    """What its trace says of how it was admitted."""
    facts: Facts = {names.DURATION_MS: round(ledger_s * 1000, 3)}
    if isinstance(admission, Lead):
        facts[names.ADMISSION] = "lead"
        facts[names.HELD_NANOUSD] = asked.candidates[admission.bid].held_nanousd
    else:
        facts[names.ADMISSION], facts[names.ANSWER_OF] = "follow", admission.leader_id
    if asked.pressed_by:
        facts[names.DOWNGRADED_BY] = asked.pressed_by
    return names.ADMIT, time.time_ns(), facts


def attribution_of(call: Call) -> dict[str, str]:
    """Who pays, as ceilings name them."""
    who = call.attribution
    return {"key": who.key_id, "team": who.team, "user": who.user, "workflow": who.workflow, "run": who.run}


def facts_of(call: Call, route: Route) -> GenerationFacts:
    """Who asked for it, and when."""
    return GenerationFacts(
        generation_id=call.generation_id,
        created_at_ms=call.received_at_ms,
        route=route.name,
        stream=call.stream,
        trace_id=call.trace.trace_id,
        attribution=attribution_of(call),
        tags=call.attribution.tags,
    )
