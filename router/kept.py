"""What a call leaves under its Idempotency-Key, as the ledger keeps it: how it ended, and what its caller was told."""

import time
from typing import Any, Final

import msgspec

from ledger.errors import LedgerError
from ledger.values import Keeping
from router.answer import Answer, Delta
from router.assemble import Assembly
from router.call import Call, EventFormat
from router.errors import DeadlineExceeded, RouterError, UpstreamFailed, UpstreamRejected
from router.faults import Outcome
from router.flights import Flight
from router.journey import Attempt, Journey
from router.landing import Landing
from router.receipt import AttemptReport, CacheOutcome, Receipt
from router.receipts import landing_of, leader_receipt

_FORMAT: Final = 1


class KeptError(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An error that ended a call after it had gone out, by its code and its fields."""

    code: str
    attempts: tuple[AttemptReport, ...]
    status: int = 0
    message: str = ""
    error_body: dict[str, Any] | None = None
    elapsed_s: float = 0.0
    waited_for: str = ""
    key: str = ""
    provider: str = ""


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """A call's result. deltas: a stream's events; then its answer's choices are what they add up to, and not kept.

    With an error, deltas are what was heard before it. event_format: of the provider's own events among them.
    """

    format: int = _FORMAT
    deployment_id: str
    dropped_params: tuple[str, ...]
    clamped: dict[str, int] = {}
    cache: CacheOutcome
    answer: Answer | None = None
    receipt: Receipt | None = None
    error: KeptError | None = None
    deltas: tuple[Delta, ...] = ()
    event_format: EventFormat = ""

    def whole_answer(self) -> Answer | None:
        """The answer with its choices. None: it ended in an error."""
        if self.answer is None or not self.deltas:
            return self.answer
        assembly = Assembly()
        for delta in self.deltas:
            assembly.add(delta)
        return msgspec.structs.replace(self.answer, choices=assembly.answer(None).choices)


def keeping_of_leader(journey: Journey, last: Attempt, error: RouterError | LedgerError | None) -> Keeping | None:
    """What a led call leaves. error: what its caller was told, None if nobody waited to hear.

    Notes the receipt in the journey, so that the first caller reads the very account that is kept.
    """
    call, flight = journey.call, journey.flight
    if call.idempotency is None:
        return None
    cache: CacheOutcome = "bypass" if journey.lookup is None else "miss"
    if last.outcome == Outcome.OK:
        landing = landing_of(journey, last)
        latency_s = time.monotonic() - journey.began_s
        journey.receipt = leader_receipt(call, landing, cache, latency_s=latency_s)
        return keeping_of_answer(call, landing, journey.receipt, cache, flight=flight)
    ended_by = None if error is None else kept_error(error)
    if ended_by is None:
        return freeing(call)
    kept = Kept(
        deployment_id=flight.deployment_id,
        dropped_params=flight.dropped_params,
        clamped=flight.clamped,
        cache=cache,
        error=ended_by,
        deltas=tuple(flight.deltas) if call.stream else (),
        event_format=flight.event_format,
    )
    return _keeping(call, kept)


def keeping_of_answer(
    call: Call, landing: Landing, receipt: Receipt, cache: CacheOutcome, *, flight: Flight
) -> Keeping | None:
    """What a call leaves that was answered in this flight."""
    answer, deltas = landing.answer, flight.deltas
    kept = Kept(
        deployment_id=f"{landing.provider}:{landing.model}",
        dropped_params=landing.dropped_params,
        clamped=landing.clamped,
        cache=cache,
        answer=msgspec.structs.replace(answer, choices=()) if call.stream and deltas else answer,
        receipt=receipt,
        deltas=tuple(deltas) if call.stream else (),
        event_format=flight.event_format,
    )
    return _keeping(call, kept)


def freeing(call: Call) -> Keeping | None:
    """That a call leaves nothing: the same may be tried again under its key."""
    key = call.idempotency
    return None if key is None else Keeping(key=key, generation_id=call.generation_id, is_over=False)


def decode_kept(result: bytes) -> Kept | None:
    """The result, or None if another version wrote it in a way that this one does not read."""
    try:
        kept = msgspec.msgpack.decode(result, type=Kept)
    except (msgspec.DecodeError, msgspec.ValidationError, RecursionError):
        return None
    return kept if kept.format == _FORMAT else None


def raised_again(kept: KeptError) -> RouterError:
    """The error as it was raised first."""
    match kept.code:
        case UpstreamRejected.code:
            return UpstreamRejected(kept.status, kept.message, kept.error_body, kept.attempts)
        case DeadlineExceeded.code:
            return DeadlineExceeded(
                elapsed_s=kept.elapsed_s,
                waited_for=kept.waited_for,
                attempts=kept.attempts,
                key=kept.key,
                provider=kept.provider,
            )
        case _:
            return UpstreamFailed(kept.attempts)


def kept_error(error: RouterError | LedgerError) -> KeptError | None:
    """An error as it is kept. None for what says "later": no room, nobody to ask now, a process that stops."""
    match error:
        case UpstreamRejected():
            return KeptError(
                code=error.code,
                attempts=error.attempts,
                status=error.status,
                message=error.message,
                error_body=error.error_body,
            )
        case DeadlineExceeded():
            return KeptError(
                code=error.code,
                attempts=error.attempts,
                elapsed_s=error.elapsed_s,
                waited_for=error.waited_for,
                key=error.key,
                provider=error.provider,
            )
        case UpstreamFailed():
            return KeptError(code=error.code, attempts=error.attempts)
        case _:
            return None


def _keeping(call: Call, kept: Kept) -> Keeping:
    assert call.idempotency is not None
    try:
        result = msgspec.msgpack.encode(kept)
    except (OverflowError, RecursionError):
        # What the provider added in fields of its own is too deep, or a number too large, to keep.
        result = None
    return Keeping(key=call.idempotency, generation_id=call.generation_id, is_over=True, result=result)
