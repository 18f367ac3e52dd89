"""Admissions that share a batch.

A statement takes longer to ask than to answer, a journey to a server more so, and while a batch has its turn all other
writers wait. So what the batch's calls have to look at is looked up for all of them together, and so is written what
they come to. The usual call, a new one that finds an answer, a flight, or room for its first bid, is decided here, one
after the other, as `ledger.operations.admit` decides; any other one is left to that, once these are written. It loses
nothing by it: the room that it may yet take is left to it.
"""

import sqlite3
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from ledger.apikeys import ApiKeyOver
from ledger.ceilings import NEVER_MS, Ceiling, CeilingTable, window_span
from ledger.database import BatchDatabase, RuleBroken
from ledger.errors import KeyTaken
from ledger.operations.admit import SQL, admit, hold_row, refusal_of, stored_of
from ledger.operations.generations import generation_row, hit_row
from ledger.operations.room import CeilingNow
from ledger.values import Admission, AdmitRequest, Follow, Hit, Lead, Lookup, StoredElsewhere, StoredResponse

# A ceiling's window: the ceiling, and when it begins.
Place = tuple[str, int]
# What a call is told.
Told = Admission | ApiKeyOver | KeyTaken
# What a call finds. None: that is not for here to say.
Found = Admission | ApiKeyOver | None


class Asked(msgspec.Struct, frozen=True):
    """A call, and under whose lease it would hold."""

    request: AdmitRequest
    owner_id: str


class Leading(msgspec.Struct, frozen=True):
    """A call that found room for its first bid, in these windows, and its hold: written if its flight is its own."""

    asked: Asked
    windows: list[CeilingNow]
    hold: dict[str, Any]

    @property
    def generation_id(self) -> str:
        return self.asked.request.facts.generation_id

    @property
    def flight(self) -> dict[str, Any] | None:
        """The flight that it takes. None: it shares nothing."""
        request = self.asked.request
        if request.lookup is None or not request.lookup.joins:
            return None
        mine = {"generation_id": self.generation_id, "owner_id": self.asked.owner_id, "now_ms": request.now_ms}
        return {"cache_key": request.lookup.cache_key, **mine}

    def lead(self) -> Lead:
        """What its caller is told."""
        rooms = [window.taken(self.asked.request.now_ms) for window in self.windows]
        pressures = tuple(room.pressure for room in rooms if room.pressure is not None)
        return Lead(bid=0, hold_id=self.hold["hold_id"], attempt=1, pressures=pressures)


def admit_together(db: BatchDatabase, asked: Sequence[Asked], *, ceilings: CeilingTable) -> list[Told]:
    """What `ledger.operations.admit` says to each. Raises LeaseOver and FlightTaken: then none of it is to stand."""
    if len(asked) == 1:
        return [_admit_alone(db, asked[0], ceilings)]
    deciding = _Deciding(db, [one.request for one in asked], ceilings)
    results = [deciding.admission_of(one) for one in asked]
    leading = deciding.leading
    led = led_by(db, leading, SQL["lead_flight"])
    db.executemany(SQL["record_generation"], deciding.hits)
    took = [taken for taken in leading if taken.flight is None or taken.generation_id in led]
    write_leads(db, took)
    db.executemany(SQL["hold_in_window"], amounts_of(took))
    # An equal call took the flight beside this batch: those who were to lead or follow it look again.
    lost = {taken.generation_id for taken in leading} - {taken.generation_id for taken in took}
    return [
        _admit_alone(db, one, ceilings) if result is None or _is_lost(one, result, lost) else result
        for one, result in zip(asked, results, strict=True)
    ]


class _Deciding:
    """What the calls of a batch find, one after the other. hits, leading: what is to be written for those so far."""

    def __init__(self, db: BatchDatabase, requests: Sequence[AdmitRequest], ceilings: CeilingTable) -> None:
        self.hits: list[dict[str, Any]] = []
        self.leading: list[Leading] = []
        self._keys = keys_until_ms(db, requests, SQL["keys_in_force"])
        self._windows = Windows(db, requests, ceilings)
        self._answers, self._flights = find_answers(db, requests), _find_flights(db, requests)
        self._known = known_generations(db, requests)
        # Of calls that are decided later: their equals are decided after them.
        self._later = set[bytes]()

    def admission_of(self, one: Asked) -> Found:
        request = one.request
        if request.api_key and self._keys.get(request.api_key, 0) <= request.now_ms:
            return ApiKeyOver(request.api_key)
        found = self._usual(one)
        self._known.add(request.facts.generation_id)
        if found is None:
            self._windows.leave(request)
            if request.lookup is not None:
                self._later.add(request.lookup.cache_key)
        return found

    def _usual(self, one: Asked) -> Found:
        request, lookup = one.request, one.request.lookup
        if request.idempotency is not None or request.facts.generation_id in self._known:
            return None
        if lookup is not None:
            if lookup.cache_key in self._later:
                return None
            if found := self._shared_with(request, lookup):
                return found
        taken = self._windows.take(one) if request.bids else None
        if taken is None:
            return None
        self.leading.append(taken)
        if taken.flight is not None:  # However long this batch takes.
            self._flights[taken.flight["cache_key"]] = (taken.generation_id, one.owner_id, NEVER_MS)
        return taken.lead()

    def _shared_with(self, request: AdmitRequest, lookup: Lookup) -> Found:
        response = answer_to(request, lookup, self._answers) if lookup.reads else None
        if isinstance(response, StoredResponse):
            row = hit_row(
                request.facts,
                deployment=response.deployment,
                answer_of=response.generation_id,
                saved_nanousd=response.cost_nanousd,
                now_ms=request.now_ms,
            )
            self.hits.append(row)
            return Hit(response)
        leader_id, owner_id, until_ms = self._flights.get(lookup.cache_key, ("", "", 0))
        if response is None and lookup.joins and until_ms > request.now_ms:
            return Follow(leader_id=leader_id, owner_id=owner_id)
        return response


def _admit_alone(db: BatchDatabase, one: Asked, ceilings: CeilingTable) -> Told:
    """Who is refused for its keys has written nothing by then, and is no trouble to the others."""
    try:
        return admit(db, one.request, owner_id=one.owner_id, ceilings=ceilings)
    except (ApiKeyOver, KeyTaken) as refusal:
        return refusal


def _is_lost(one: Asked, result: Admission | ApiKeyOver, lost: set[str]) -> bool:
    """Whether it was to lead or follow a flight that somebody else took."""
    led_by_lost = isinstance(result, Follow) and result.leader_id in lost
    return led_by_lost or one.request.facts.generation_id in lost


class Windows:
    """The ceilings' windows that calls' first bids would take room in, as those that took some before left them."""

    def __init__(self, db: BatchDatabase, requests: Sequence[AdmitRequest], ceilings: CeilingTable) -> None:
        self._ceilings = ceilings
        self._amounts: dict[Place, list[int]] = {}
        self._left = Counter[Place]()
        for ceiling_id, starts_at_ms, *amounts in db.find_each(SQL["windows_now"], self._places(requests)):
            self._amounts[ceiling_id, starts_at_ms] = amounts

    def take(self, one: Asked) -> Leading | None:
        """Take room for a call's first bid. None: there is not enough, no such window yet, or the bid is no bound."""
        bid, applying = one.request.bids[0], self.applying(one.request)
        if any(ceiling.unit in bid.unbounded_in for ceiling in applying):
            return None
        windows = [self._now(ceiling, one.request) for ceiling in applying]
        fitting = [window for window in windows if window is not None and self._has_room(window)]
        if len(fitting) < len(windows):
            return None
        for window in fitting:
            self._amounts[window.place][1] += window.asked
        facts, now_ms = one.request.facts, one.request.now_ms
        return Leading(one, fitting, hold_row(facts, bid, attempt=1, now_ms=now_ms, owner_id=one.owner_id))

    def leave(self, request: AdmitRequest) -> None:
        """From now on, take nothing that this call, which is decided later, may take on any of its bids."""
        wanted: dict[Place, int] = {}
        for bid in request.bids:
            for ceiling in self._ceilings.for_attempt(bid.deployment, request.facts.attribution):
                place = (ceiling.id, window_span(ceiling.window, request.now_ms).starts_at_ms)
                wanted[place] = max(wanted.get(place, 0), bid.asks(ceiling.counts))
        self._left.update(wanted)

    def _has_room(self, window: CeilingNow) -> bool:
        return not window.asked or window.asked <= window.room - self._left[window.place]

    def applying(self, request: AdmitRequest) -> Sequence[Ceiling]:
        """The ceilings of its first bid, if it has one."""
        return [
            ceiling
            for bid in request.bids[:1]
            for ceiling in self._ceilings.for_attempt(bid.deployment, request.facts.attribution)
        ]

    def _now(self, ceiling: Ceiling, request: AdmitRequest) -> CeilingNow | None:
        span = window_span(ceiling.window, request.now_ms)
        found = self._amounts.get((ceiling.id, span.starts_at_ms))
        if found is None:
            return None
        limit, held, spent = found
        return CeilingNow(ceiling, span, limit, held, spent, request.bids[0].asks(ceiling.counts))

    def _places(self, requests: Sequence[AdmitRequest]) -> list[dict[str, Any]]:
        places = {
            (ceiling.id, window_span(ceiling.window, request.now_ms).starts_at_ms)
            for request in requests
            for ceiling in self.applying(request)
        }
        return [{"ceiling_id": ceiling_id, "starts_at_ms": starts_at_ms} for ceiling_id, starts_at_ms in sorted(places)]


def keys_until_ms(db: BatchDatabase, requests: Sequence[AdmitRequest], look: str) -> dict[str, int]:
    """{key: until when it is in force} of those that were not revoked. look: how each is looked at."""
    keys = sorted({request.api_key for request in requests if request.api_key})
    return dict(db.find_each(look, [{"key_id": key} for key in keys]))


def known_generations(db: BatchDatabase, requests: Sequence[AdmitRequest]) -> set[str]:
    """Those that have been here before."""
    ids = [{"generation_id": request.facts.generation_id} for request in requests]
    return {generation_id for (generation_id,) in db.find_each(SQL["are_known"], ids)}


def find_answers(db: BatchDatabase, requests: Iterable[AdmitRequest]) -> dict[bytes, tuple[Any, ...]]:
    """{cache key: its stored answer}, of the requests that would read one."""
    rows = db.find_each(
        SQL["stored_answers"], _cache_keys(it.lookup for it in requests if it.lookup and it.lookup.reads)
    )
    return {row[0]: row[1:] for row in rows}


def answer_to(
    request: AdmitRequest, lookup: Lookup, answers: dict[bytes, tuple[Any, ...]]
) -> StoredResponse | StoredElsewhere | None:
    """Its answer among these, if that has not expired. None: there is none for it."""
    expires_at_ms, *found = answers.get(lookup.cache_key, (0,))
    return None if expires_at_ms <= request.now_ms else stored_of(lookup, tuple(found))


def led_by(db: BatchDatabase, leading: Sequence[Leading], lead_flight: str) -> set[str]:
    """The generations that took their flights. In the keys' order: whoever else does so waits for nobody behind it."""
    flights = sorted((it.flight for it in leading if it.flight is not None), key=lambda flight: flight["cache_key"])
    return {generation_id for (generation_id,) in db.change_each(lead_flight, flights, SQL["who_may_lead"])}


def write_leads(db: BatchDatabase, leading: Sequence[Leading]) -> None:
    """Write the calls and their holds. Raises LeaseOver."""
    generations = [
        {
            **generation_row(it.asked.request.facts),
            "cache": "bypass" if it.asked.request.lookup is None else "miss",
            "deployment": it.hold["deployment"],
        }
        for it in leading
    ]
    db.executemany(SQL["open_generation"], generations)
    try:
        db.executemany(SQL["take_hold"], [it.hold for it in leading])
    except (sqlite3.IntegrityError, RuleBroken) as error:
        raise refusal_of(error) from error
    links = [
        {"hold_id": it.hold["hold_id"], "ceiling_id": window.ceiling.id, "starts_at_ms": window.span.starts_at_ms}
        for it in leading
        for window in it.windows
    ]
    db.executemany(SQL["link_hold"], links)


def amounts_of(leading: Iterable[Leading]) -> list[dict[str, Any]]:
    """How much room they take in each window together."""
    amounts: dict[Place, int] = {}
    for window in (window for it in leading for window in it.windows):
        amounts[window.place] = amounts.get(window.place, 0) + window.asked
    return [
        {"ceiling_id": ceiling_id, "starts_at_ms": starts_at_ms, "amount": amount}
        for (ceiling_id, starts_at_ms), amount in amounts.items()
    ]


def _find_flights(db: BatchDatabase, requests: Iterable[AdmitRequest]) -> dict[bytes, tuple[str, str, int]]:
    """{cache key: its leader, whose process it is, until when that has its lease}, of the requests that would join."""
    rows = db.find_each(SQL["flights_of"], _cache_keys(it.lookup for it in requests if it.lookup and it.lookup.joins))
    return {row[0]: row[1:] for row in rows}


def _cache_keys(lookups: Iterable[Lookup]) -> list[dict[str, Any]]:
    return [{"cache_key": key} for key in sorted({lookup.cache_key for lookup in lookups})]
