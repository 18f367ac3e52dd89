"""Admission: one transaction that finds an answer, a flight to join, or room to start. Source: DESIGN §3 step 3."""

import sqlite3
from typing import Any, Final

import msgspec

from ledger.ceilings import HOUR_MS, CeilingTable
from ledger.database import Database, RuleBroken
from ledger.errors import LeaseOver
from ledger.operations.apikeys import check_key
from ledger.operations.crossings import tell_refusal
from ledger.operations.generations import generation_row, hit_row
from ledger.operations.idempotency import find_replay, take_key
from ledger.operations.room import Room, find_room, tightest
from ledger.sql import statements
from ledger.values import (
    Admission,
    AdmitRequest,
    Bid,
    Follow,
    GenerationFacts,
    Hit,
    Lead,
    Lookup,
    Missing,
    NextAttempt,
    Pressure,
    Prospect,
    Refused,
    StoredElsewhere,
    StoredResponse,
)

SQL: Final = statements("sqlite", "admit")
# What the trigger of this rule says.
TAKEN_UNDER_A_LEASE: Final = "a hold is taken under a lease"


class FlightTaken(Exception):
    """An equal call, admitted beside this batch, took the flight since it was looked for: look again."""


class Fit(msgspec.Struct, frozen=True):
    """The first bid that every one of its ceilings has room for. pressures: of all ceilings that were looked at."""

    bid: int
    rooms: list[Room]
    pressures: tuple[Pressure, ...]


def admit(db: Database, request: AdmitRequest, *, owner_id: str, ceilings: CeilingTable) -> Admission:
    """Hit, follow, lead, be refused, or fetch a body first. A hit, a lead, a refusal's count and a key's record write.

    Raises ApiKeyOver: whoever revokes a key sees the last of it when that is committed, in every process.
    """
    check_key(db, request.api_key, now_ms=request.now_ms)
    replay = find_replay(db, request)
    if replay is not None:
        return replay
    admission = _admit(db, request, owner_id=owner_id, ceilings=ceilings)
    if isinstance(admission, StoredElsewhere):
        return admission  # It is asked again at once, and what it has of its key stays.
    return take_key(db, request, admission, owner_id=owner_id)


def _admit(db: Database, request: AdmitRequest, *, owner_id: str, ceilings: CeilingTable) -> Admission:
    lookup = request.lookup
    if lookup is not None:
        if lookup.reads and (hit := _find_hit(db, request, lookup)):
            return hit
        if lookup.joins and (follow := _find_flight(db, request, lookup.cache_key)):
            return follow
    if not request.bids:
        return Missing()
    return _lead(db, request, owner_id=owner_id, ceilings=ceilings)


def lead_of(db: Database, request: AdmitRequest) -> Lead | None:
    """The first hold of this generation, if there is one."""
    return _find_lead(db, request.facts.generation_id, 1, request.bids)


def look_ahead(db: Database, request: AdmitRequest, *, ceilings: CeilingTable) -> Prospect:
    """What `admit` would do now, found by the same rules. Writes nothing, and looks at no Idempotency-Key."""
    lookup, facts, now_ms = request.lookup, request.facts, request.now_ms
    fit = _find_fit(db, facts, request.bids, ceilings, now_ms, opens=False) if request.bids else None
    return Prospect(
        is_stored=lookup is not None and lookup.reads and _find_stored(db, request, lookup) is not None,
        is_in_flight=lookup is not None and lookup.joins and _find_flight(db, request, lookup.cache_key) is not None,
        fit=fit.bid if isinstance(fit, Fit) else fit,
        binding=tuple(
            tightest(db, bid, ceilings.for_attempt(bid.deployment, facts.attribution), now_ms) for bid in request.bids
        ),
    )


def hold_next(db: Database, request: NextAttempt, *, owner_id: str, ceilings: CeilingTable) -> Lead | Refused:
    """Take room for a further attempt of a generation that has begun, on the first bid that fits."""
    before = _find_lead(db, request.facts.generation_id, request.attempt, request.bids)
    if before is not None:
        return before
    fit = _find_fit(db, request.facts, request.bids, ceilings, request.now_ms, attempt=request.attempt)
    if isinstance(fit, Refused):
        return fit
    return _take(
        db, request.facts, request.bids, fit, attempt=request.attempt, now_ms=request.now_ms, owner_id=owner_id
    )


def _find_stored(db: Database, request: AdmitRequest, lookup: Lookup) -> StoredResponse | StoredElsewhere | None:
    row = db.execute(SQL["find_response"], {"cache_key": lookup.cache_key, "now_ms": request.now_ms}).fetchone()
    return None if row is None else stored_of(lookup, row)


def stored_of(lookup: Lookup, found: tuple[Any, ...]) -> StoredResponse | StoredElsewhere | None:
    """What a row of `find_response` is to who looks it up. None: it passes over it."""
    body, deployment, cost_basis, cost_nanousd, stored_by, checksum = found
    if stored_by == lookup.not_of:
        return None
    if checksum is not None:
        if lookup.at_hand is None or lookup.at_hand.checksum != checksum:
            return StoredElsewhere(cache_key=lookup.cache_key, generation_id=stored_by, checksum=checksum)
        body = lookup.at_hand.body
    return StoredResponse(
        body=body, deployment=deployment, cost_basis=cost_basis, cost_nanousd=cost_nanousd, generation_id=stored_by
    )


def _find_hit(db: Database, request: AdmitRequest, lookup: Lookup) -> Hit | StoredElsewhere | None:
    response = _find_stored(db, request, lookup)
    if not isinstance(response, StoredResponse):
        return response
    row = hit_row(
        request.facts,
        deployment=response.deployment,
        answer_of=response.generation_id,
        saved_nanousd=response.cost_nanousd,
        now_ms=request.now_ms,
    )
    db.execute(SQL["record_generation"], row)
    return Hit(response)


def _find_flight(db: Database, request: AdmitRequest, cache_key: bytes) -> Follow | None:
    row = db.execute(SQL["find_flight"], {"cache_key": cache_key, "now_ms": request.now_ms}).fetchone()
    if row is None or row[0] == request.facts.generation_id:
        return None
    return Follow(leader_id=row[0], owner_id=row[1])


def _lead(db: Database, request: AdmitRequest, *, owner_id: str, ceilings: CeilingTable) -> Admission:
    facts, lookup = request.facts, request.lookup
    fit = _find_fit(db, facts, request.bids, ceilings, request.now_ms)
    if isinstance(fit, Refused):
        before = _find_lead(db, facts.generation_id, 1, request.bids)
        if before is None and not fit.may_yet_fit:
            count_refusal(db, facts.route, fit, now_ms=request.now_ms)
        return before or fit
    cache = "bypass" if lookup is None else "miss"
    row = {**generation_row(facts), "cache": cache, "deployment": request.bids[fit.bid].deployment}
    is_new = db.execute(SQL["open_generation"], row).rowcount > 0
    if not is_new and (before := _find_lead(db, facts.generation_id, 1, request.bids)):
        return before
    lead = _take(db, facts, request.bids, fit, attempt=1, now_ms=request.now_ms, owner_id=owner_id)
    if lookup is not None and lookup.joins:
        flight = {"cache_key": lookup.cache_key, "generation_id": facts.generation_id, "owner_id": owner_id}
        if not db.execute(SQL["lead_flight"], {**flight, "now_ms": request.now_ms}).fetchall():
            raise FlightTaken
    return lead


def _find_lead(db: Database, generation_id: str, attempt: int, bids: tuple[Bid, ...]) -> Lead | None:
    """The hold that an earlier try of this very request took, if its commit was kept."""
    hold_id = hold_id_of(generation_id, attempt)
    row = db.execute(SQL["find_hold"], {"hold_id": hold_id}).fetchone()
    if row is None:
        return None
    same = [index for index, bid in enumerate(bids) if (bid.deployment, bid.held_nanousd, bid.held_tokens) == row]
    assert same, "a generation id was used for two different calls"
    return Lead(bid=same[0], hold_id=hold_id, attempt=attempt)


def count_refusal(db: Database, route: str, refused: Refused, *, now_ms: int) -> None:
    """A call was not admitted: it leaves nothing but this, and that people hear of a ceiling that is used up.

    Nothing is left of one that no hold bounds: its own process refuses it alone, once it has heard of the ceiling.
    """
    if refused.unbounded_by:
        return
    row = {"hour_ms": now_ms - now_ms % HOUR_MS, "route": route, "code": refused.error.code}
    db.execute(SQL["count_refusal"], row)
    if not refused.held:
        tell_refusal(db, refused.tight, now_ms=now_ms)


def _find_fit(
    db: Database,
    facts: GenerationFacts,
    bids: tuple[Bid, ...],
    ceilings: CeilingTable,
    now_ms: int,
    *,
    attempt: int = 1,
    opens: bool = True,
) -> Fit | Refused:
    """Nobody else writes between this look and the taking: the transaction holds the write lock."""
    refusals: list[Refused] = []
    pressures: list[Pressure] = []
    for index, bid in enumerate(bids):
        applying = ceilings.for_attempt(bid.deployment, facts.attribution)
        found = find_room(db, bid, applying, now_ms, attempt=attempt, opens=opens)
        if not isinstance(found, Refused):
            pressures += (room.pressure for room in found if room.pressure is not None)
            return Fit(index, found, tuple(pressures))
        pressures += found.pressures
        refusals.append(msgspec.structs.replace(found, bid=index))
    return msgspec.structs.replace(min(refusals, key=_hopelessness), pressures=tuple(pressures))


def _hopelessness(refused: Refused) -> int:
    """Of several bids that do not fit, the one that something can be done for is told of first."""
    if refused.may_clamp:
        return 0
    if refused.may_wait:
        return 1
    if refused.unbounded_by:
        return 4
    return 2 if refused.held else 3


def _take(
    db: Database,
    facts: GenerationFacts,
    bids: tuple[Bid, ...],
    fit: Fit,
    *,
    attempt: int,
    now_ms: int,
    owner_id: str,
) -> Lead:
    row = hold_row(facts, bids[fit.bid], attempt=attempt, now_ms=now_ms, owner_id=owner_id)
    try:
        db.execute(SQL["take_hold"], row)
    except (sqlite3.IntegrityError, RuleBroken) as error:
        raise refusal_of(error) from error
    hold_id = row["hold_id"]
    places = [
        {"hold_id": hold_id, "ceiling_id": room.ceiling_id, "starts_at_ms": room.starts_at_ms, "amount": room.amount}
        for room in fit.rooms
    ]
    db.executemany(SQL["hold_in_window"], places)
    db.executemany(SQL["link_hold"], places)
    return Lead(bid=fit.bid, hold_id=hold_id, attempt=attempt, pressures=fit.pressures)


def refusal_of(error: Exception) -> Exception:
    """What a rule of the schema that refused a hold stands for; another rule is a bug's."""
    return LeaseOver() if str(error) == TAKEN_UNDER_A_LEASE else error


def hold_row(facts: GenerationFacts, bid: Bid, *, attempt: int, now_ms: int, owner_id: str) -> dict[str, Any]:
    """A hold's columns."""
    return {
        "hold_id": hold_id_of(facts.generation_id, attempt),
        "generation_id": facts.generation_id,
        "attempt": attempt,
        "owner_id": owner_id,
        "deployment": bid.deployment,
        "price_version": bid.price_version,
        "held_nanousd": bid.held_nanousd,
        "held_tokens": bid.held_tokens,
        "taken_at_ms": now_ms,
    }


def hold_id_of(generation_id: str, attempt: int) -> str:
    """A hold is named after its attempt, so that taking it twice cannot happen."""
    return f"{generation_id}.{attempt}"
