"""Lowers the length of an answer to what a ceiling has room for. Pure."""

import msgspec

from router.bounds import input_bound_tokens, output_bound_tokens
from router.dialects import fitted
from router.embeddings import ENDPOINT as EMBEDDINGS
from router.kinds import bound_nanousd
from router.plan import Candidate

FIELDS = ("max_completion_tokens", "max_tokens")


def clamped(candidate: Candidate, room_nanousd: int) -> Candidate | None:
    """The candidate with the longest answer that costs at most this much. None: not even one token fits.

    A candidate that fits as it is stays so.
    """
    if candidate.held_nanousd <= room_nanousd:
        return candidate
    longest = _limit(candidate)
    if longest is None or _held_nanousd(candidate, 1) > room_nanousd:
        return None
    fits, too_long = 1, longest
    while too_long - fits > 1:
        middle = (fits + too_long) // 2
        if _held_nanousd(candidate, middle) <= room_nanousd:
            fits = middle
        else:
            too_long = middle
    field = _field(candidate)
    # What the format cannot say of so short an answer (a budget for thoughts) goes, by name.
    body, dropped = fitted({**candidate.body, field: fits}, candidate.deployment, candidate.endpoint)
    return msgspec.structs.replace(
        candidate,
        body=body,
        held_nanousd=_held_nanousd(candidate, fits),
        dropped_params=candidate.dropped_params
        + tuple(name for name in dropped if name not in candidate.dropped_params),
        clamped={field: fits},
    )


def _field(candidate: Candidate) -> str:
    """The field by which this call limits its answer; where it names none, the one that its deployment knows."""
    named = next((name for name in FIELDS if candidate.body.get(name) is not None), None)
    return named or candidate.deployment.adaptation.renamed.get("max_tokens", "max_tokens")


def _limit(candidate: Candidate) -> int | None:
    """The most that one choice may have now. None: nobody knows, or there is none, so that no field can lower it."""
    if candidate.endpoint == EMBEDDINGS:
        return None
    return output_bound_tokens(
        {**candidate.body, "n": 1, "best_of": 1},
        max_output_tokens=candidate.deployment.max_output_tokens,
        context_window=candidate.deployment.context_window,
    )


def _held_nanousd(candidate: Candidate, max_tokens: int) -> int:
    deployment, price = candidate.deployment, candidate.deployment.price
    assert price is not None
    body = {**candidate.body, _field(candidate): max_tokens}
    written = output_bound_tokens(
        body, max_output_tokens=deployment.max_output_tokens, context_window=deployment.context_window
    )
    assert written is not None
    return bound_nanousd(price, body, input_bound_tokens(candidate.body, deployment.context_window), written)
