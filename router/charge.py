"""What an attempt is charged. Source: DESIGN §4, invariant 7."""

import msgspec

from ledger.usage import Usage
from ledger.values import AttemptResult, CostBasis
from router.faults import Fault, Outcome, is_charged
from router.journey import Attempt


def needs_count(attempt: Attempt) -> bool:
    """Whether what was read and written must be counted here, because the provider did not say and may bill it."""
    if reported_usage(attempt) is not None:
        return False
    return attempt.fault is None or is_charged(attempt.fault)


def reported_usage(attempt: Attempt) -> Usage | None:
    """What the provider said of it. None: nothing."""
    return None if attempt.closing is None else attempt.closing.usage


def count(told: Usage | None, *, read: int, written: int, thought_aloud: bool) -> Usage:
    """What stands in for what the provider did not say of the whole answer: read and written tokens, as counted here.

    told: what it had said by then. Where there is such, what was read is by its price, and no less was written. Some
    say only at the end what they read, and zero before. thought_aloud: what was written holds its thoughts. Pure.
    """
    if told is None or not told.prompt_tokens:
        return Usage(input_tokens=read, output_tokens=written)
    words = written - told.reasoning_tokens if thought_aloud else written
    return msgspec.structs.replace(told, output_tokens=max(told.output_tokens, words))


def close(attempt: Attempt, counted: Usage | None) -> AttemptResult:
    """The attempt's line for the ledger.

    counted: tokens counted here, where `needs_count`. An estimate is never above the hold; what the provider reports
    is taken as it is.
    """
    assert attempt.outcome is not None
    price = attempt.deployment.price
    assert price is not None
    reported = reported_usage(attempt)
    usage = reported if reported is not None else counted
    cost_nanousd: int | None = None
    basis: CostBasis = "priced_usage"
    if reported is not None:
        cost_nanousd = price.cost_nanousd(reported)
        if attempt.closing is not None and not attempt.closing.is_of_one_model:
            # Another model took part, at a price that is not known here: so much it is by the price of this one.
            basis = "unknown"
    elif counted is not None:
        cost_nanousd, basis = _guessed(attempt, price.cost_nanousd(counted))
    if price.is_free:
        basis = "free"
    ttft_s = attempt.ttft_s
    return AttemptResult(
        hold_id=attempt.hold_id,
        outcome=attempt.outcome.value,
        cost_nanousd=cost_nanousd,
        cost_basis=basis,
        usage=usage,
        price_version=price.version,
        status=attempt.fault.status if attempt.fault is not None else (200 if attempt.outcome == Outcome.OK else None),
        latency_us=round(attempt.latency_s * 1_000_000),
        ttft_us=None if ttft_s is None else round(ttft_s * 1_000_000),
        error=_kept_error(attempt.fault),
        begun_at_us=attempt.started_at_ns // 1000,
        hedge=bool(attempt.hedges),
    )


def _guessed(attempt: Attempt, counted_nanousd: int) -> tuple[int, CostBasis]:
    """What the provider did not say. Of an answer that did not come whole, its `on_abort` says how it is guessed."""
    held_nanousd, on_abort = attempt.candidate.held_nanousd, attempt.deployment.provider.on_abort
    if attempt.fault is not None and on_abort == "hold":
        return held_nanousd, "unknown"
    if attempt.fault is not None and on_abort == "free":
        return 0, "free"
    return min(counted_nanousd, held_nanousd), "estimated"


def write_off(attempt: Attempt) -> AttemptResult:
    """The line of an attempt whose end nobody saw: its whole hold, if it may have been sent. Ends the attempt."""
    price = attempt.deployment.price
    assert price is not None
    may_be_billed = attempt.began_s is not None
    attempt.end(Outcome.LOST)
    return AttemptResult(
        hold_id=attempt.hold_id,
        outcome=Outcome.LOST.value,
        cost_nanousd=attempt.candidate.held_nanousd if may_be_billed else None,
        cost_basis="unknown",
        usage=None,
        price_version=price.version,
        latency_us=round(attempt.latency_s * 1_000_000),
        begun_at_us=attempt.started_at_ns // 1000,
        hedge=bool(attempt.hedges),
    )


def _kept_error(fault: Fault | None) -> str | None:
    """What the ledger keeps of a fault. A provider's words may quote the prompt: of them, only its code is kept."""
    if fault is None:
        return None
    if fault.status is None:
        return fault.message
    return f"status {fault.status} {fault.code}".rstrip()
