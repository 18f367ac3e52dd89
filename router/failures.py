"""How a flight failed, for calls that wait for it in other processes: they are told the same, and nobody pays again."""

from typing import Final

import msgspec

from ledger.errors import LedgerError
from router.errors import RouterError, UpstreamFailed, UpstreamRejected
from router.faults import Outcome
from router.flights import Flight
from router.journey import Attempt, Journey
from router.kept import KeptError, kept_error, raised_again
from router.receipt import AttemptReport

_FORMAT: Final = 1
MAX_FAILURE_BYTES: Final = 16_384


class SharedFailure(msgspec.Struct, frozen=True, kw_only=True):
    """A provider's failure that ended a flight, without the provider's own words: they may quote the prompt."""

    format: int = _FORMAT
    deployment_id: str
    error: KeptError


def failure_to_share(journey: Journey, last: Attempt, error: RouterError | LedgerError | None) -> bytes | None:
    """What followers elsewhere are told. None: it did not fail, or for a reason of its leader's own."""
    if not isinstance(error, UpstreamFailed | UpstreamRejected) or last.outcome == Outcome.ABORTED:
        return None
    kept = kept_error(error)
    assert kept is not None
    reports = tuple(_without_words(attempt) for attempt in journey.attempts if attempt.result is not None)
    message = "" if not kept.message else f"an equal call was refused: {reports[-1].error}"
    kept = msgspec.structs.replace(kept, attempts=reports, message=message, error_body=None)
    failure = msgspec.msgpack.encode(SharedFailure(deployment_id=journey.flight.deployment_id, error=kept))
    return failure if len(failure) <= MAX_FAILURE_BYTES else None


def failed_flight(leader_id: str, failure: bytes) -> Flight | None:
    """The flight as a follower in its own process finds it. None: another version wrote what is left of it."""
    try:
        shared = msgspec.msgpack.decode(failure, type=SharedFailure)
    except (msgspec.DecodeError, msgspec.ValidationError):
        return None
    if shared.format != _FORMAT:
        return None
    flight = Flight(leader_id, shared.deployment_id)
    flight.fail(raised_again(shared.error))
    return flight


def _without_words(attempt: Attempt) -> AttemptReport:
    assert attempt.result is not None
    return msgspec.structs.replace(attempt.report(), error=attempt.result.error)
