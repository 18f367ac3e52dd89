"""What is asked of the ledger and what it answers, engine apart.

Long, for each of these small values is read beside the one that answers it, and next to none has any logic.
"""

from typing import Literal

import msgspec

from ledger.ceilings import Counts, Unit, WhenTight
from ledger.errors import CeilingExceeded, CeilingHeld, HoldUnbounded, RateLimited, Tight
from ledger.prices.price import Price
from ledger.usage import Usage

CostBasis = Literal["provider_reported", "priced_usage", "estimated", "unknown", "free"]


class GenerationFacts(msgspec.Struct, frozen=True, kw_only=True):
    """Who asked for a generation, and when. Empty strings: not said. attribution: {`key`|`team`|…: name}."""

    generation_id: str
    created_at_ms: int
    route: str
    stream: bool
    trace_id: str
    attribution: dict[str, str]
    tags: dict[str, str] = {}


class Bid(msgspec.Struct, frozen=True, kw_only=True):
    """One deployment that could take the call, and the room its attempt would hold: in money, and in tokens.

    price: kept on record under its version, for whoever checks the arithmetic later. None: it is not.
    unbounded_in: the units in which it may use more than that, so that no ceiling in one of them lets it pass, and
    unbounded_by: the field of the call for which it may.
    """

    deployment: str
    held_nanousd: int
    price_version: str
    held_tokens: int = 0
    price: Price | None = None
    unbounded_in: tuple[Unit, ...] = ()
    unbounded_by: str = ""

    def asks(self, counts: Counts, attempt: int = 1) -> int:
        """How much room this attempt of its call would take under a ceiling that counts so."""
        match counts:
            case "nanousd":
                return self.held_nanousd
            case "tokens":
                return self.held_tokens
            case "attempts":
                return 1
            case "calls":
                return int(attempt == 1)


class Body(msgspec.Struct, frozen=True):
    """The body of a stored response that is kept elsewhere, as its asker found it there and proved it."""

    checksum: bytes
    body: bytes


class Lookup(msgspec.Struct, frozen=True, kw_only=True):
    """What a call may take from and give to others. joins: share a flight with equal calls.

    at_hand: what its asker found of what is kept elsewhere. not_of: the generation whose stored answer it passes over,
    because its body is not to be had.
    """

    cache_key: bytes
    reads: bool
    joins: bool
    at_hand: Body | None = None
    not_of: str = ""


class IdempotencyKey(msgspec.Struct, frozen=True, kw_only=True):
    """What a caller calls one request, so that repeating it has no second effect. caller: whose key it is.

    fingerprint: 32 bytes that are the same only for the same request.
    """

    caller: str
    key: str
    fingerprint: bytes


class AdmitRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Ask to start a generation. bids in the order they would be tried; lookup None: alone, nothing shared.

    api_key: the id of the key that it came with, which has to be in force; empty: it came with none.
    """

    facts: GenerationFacts
    lookup: Lookup | None
    bids: tuple[Bid, ...]
    now_ms: int
    idempotency: IdempotencyKey | None = None
    api_key: str = ""


class StoredResponse(msgspec.Struct, frozen=True, kw_only=True):
    """A whole answer kept for equal calls: the ledger keeps the bytes and does not read them."""

    body: bytes
    deployment: str
    cost_basis: str
    cost_nanousd: int
    generation_id: str


class Hit(msgspec.Struct, frozen=True):
    """A complete stored response. The generation is on record as finished; it cost nothing."""

    response: StoredResponse


class StoredElsewhere(msgspec.Struct, frozen=True, kw_only=True):
    """There is a stored response whose body the ledger does not have. Nothing was written.

    Ask again with the body at hand, or for any answer but this generation's. checksum: see `ledger.bodies.checksum_of`.
    """

    cache_key: bytes
    generation_id: str
    checksum: bytes


class HitAgain(msgspec.Struct, frozen=True, kw_only=True):
    """Ask to serve a stored answer that its asker has at hand. answer_of: the generation that it was stored by.

    deployment, saved_nanousd: that answer's, and what it cost. api_key: as of AdmitRequest.
    """

    facts: GenerationFacts
    cache_key: bytes
    answer_of: str
    deployment: str
    saved_nanousd: int
    now_ms: int
    api_key: str = ""


class Follow(msgspec.Struct, frozen=True, kw_only=True):
    """An equal call is in flight under this generation, in the process with this owner id.

    Nothing was written but that its own key, if it has one, is in progress.
    """

    leader_id: str
    owner_id: str


class Pressure(msgspec.Struct, frozen=True, kw_only=True):
    """A ceiling with a `downgrade_at`, as it was found. until_ms: it is beyond it until then; 0: it is not."""

    ceiling_id: str
    limit: int
    until_ms: int


class Lead(msgspec.Struct, frozen=True, kw_only=True):
    """The hold on bids[bid] is taken, and with a lookup that joins, so is the flight. The call may be sent.

    pressures: of the ceilings that were looked at, this hold included.
    """

    bid: int
    hold_id: str
    attempt: int
    pressures: tuple[Pressure, ...] = ()


class Replay(msgspec.Struct, frozen=True, kw_only=True):
    """What the call that took this key was answered: an earlier one, or this very one, if what it got was stored.

    hit: that stored answer; result: anything else, as the router gave it to keep. Neither: it was not kept.
    """

    generation_id: str
    trace_id: str
    created_at_ms: int
    taken_at_ms: int
    hit: StoredResponse | None
    result: bytes | None


class Missing(msgspec.Struct, frozen=True):
    """Nothing stored, no flight to join, and no bid to lead with."""


class Refused(msgspec.Struct, frozen=True):
    """No bid fits. tight: a ceiling that stopped this bid; held: it would fit once open holds settle.

    when_tight: the strictest wish of the ceilings that stopped it. room_nanousd, room_tokens: what would fit now under
    all of those that stopped it in this unit; None: none did. unbounded_by: the bid's, where the ceiling stopped it for
    that, whatever room there is.
    """

    tight: Tight
    held: bool
    bid: int = 0
    when_tight: WhenTight = "refuse"
    room_nanousd: int | None = None
    room_tokens: int | None = None
    pressures: tuple[Pressure, ...] = ()
    unbounded_by: str = ""

    @property
    def error(self) -> CeilingExceeded | CeilingHeld | RateLimited | HoldUnbounded:
        """What its caller is told."""
        if self.unbounded_by:
            return HoldUnbounded(self.unbounded_by)
        if self.tight.unit != "usd":
            return RateLimited(self.tight)
        return CeilingHeld(self.tight) if self.held else CeilingExceeded(self.tight)

    @property
    def may_clamp(self) -> bool:
        """Whether a smaller call may fit now, and is wished for."""
        rooms = (self.room_nanousd, self.room_tokens)
        return self.when_tight == "clamp" and any(rooms) and 0 not in rooms

    @property
    def may_wait(self) -> bool:
        """Whether waiting is wished for, and may help: open holds settle, and a rate's next window begins anew."""
        tight = self.tight
        returns = tight.unit != "usd" and tight.window_ends_at_ms is not None and not tight.can_never_fit
        return self.when_tight == "wait" and (self.held or returns)

    @property
    def may_yet_fit(self) -> bool:
        """Whether the caller may be waiting or made smaller instead of being refused: then it is not counted yet."""
        return self.may_wait or self.may_clamp


class Prospect(msgspec.Struct, frozen=True, kw_only=True):
    """What an admission would find now. Nothing was taken, so the next moment may find it otherwise.

    fit: the first bid that every ceiling has room for, or why there is none; None: there was no bid. binding: for each
    bid the ceiling that leaves it the least room; None: none counts it.
    """

    is_stored: bool
    is_in_flight: bool
    fit: int | Refused | None
    binding: tuple[Tight | None, ...]


Admission = Hit | StoredElsewhere | Follow | Lead | Replay | Missing | Refused


class AttemptResult(msgspec.Struct, frozen=True, kw_only=True):
    """How one attempt ended. cost_nanousd None: nothing is charged, the hold is given back whole.

    begun_at_us: when its request was begun, in microseconds UTC; None: unknown. hedge: it was started beside another.
    """

    hold_id: str
    outcome: str
    cost_nanousd: int | None
    cost_basis: CostBasis
    usage: Usage | None
    price_version: str
    status: int | None = None
    latency_us: int
    ttft_us: int | None = None
    error: str | None = None
    begun_at_us: int | None = None
    hedge: bool = False


class Storing(msgspec.Struct, frozen=True, kw_only=True):
    """Keep this answer under this key until then. replaces: also over a newer flight or entry (mode `refresh`).

    checksum: of its body, which is kept elsewhere already; None: the ledger is to keep it.
    """

    cache_key: bytes
    response: StoredResponse
    expires_at_ms: int
    replaces: bool = False
    checksum: bytes | None = None


class Ending(msgspec.Struct, frozen=True, kw_only=True):
    """A generation's end. saved_nanousd: what a follower or hit did not have to pay."""

    generation_id: str
    outcome: str
    deployment: str
    cost_basis: str
    finished_at_ms: int
    latency_us: int
    ttft_us: int | None = None
    saved_nanousd: int = 0
    estimated_prompt_tokens: int | None = None
    error_code: str = ""


class Keeping(msgspec.Struct, frozen=True, kw_only=True):
    """What a call leaves under its key. is_over False: nothing, try it again. result None: it cannot be kept."""

    key: IdempotencyKey
    generation_id: str
    is_over: bool
    result: bytes | None = None


class Settlement(msgspec.Struct, frozen=True, kw_only=True):
    """Close attempts and end their generation, in one transaction. flight: the key whose flight it led, if any.

    failure: how that flight failed, as the router writes it, for calls in other processes that wait for it.
    """

    attempts: tuple[AttemptResult, ...]
    ending: Ending
    flight: bytes | None = None
    storing: Storing | None = None
    keeping: Keeping | None = None
    failure: bytes | None = None


class NextAttempt(msgspec.Struct, frozen=True, kw_only=True):
    """Close what failed, if anything, and take a hold for a further attempt, in one transaction."""

    facts: GenerationFacts
    closed: tuple[AttemptResult, ...]
    attempt: int
    bids: tuple[Bid, ...]
    now_ms: int


class CacheBounds(msgspec.Struct, frozen=True, kw_only=True):
    """How much may be stored. max_bytes: of bodies, wherever they are kept."""

    max_entries: int = 100_000
    max_bytes: int = 1 << 30
