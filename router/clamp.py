"""Lowers the length of an answer to what a ceiling has room for. Pure."""

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

import msgspec

from ledger.ceilings import Ceiling
from ledger.values import Refused
from router.bounds import LIMITS, output_bound_tokens
from router.dialects import fitted
from router.embeddings import ENDPOINT as EMBEDDINGS
from router.kinds import bound_nanousd
from router.plan import Candidate

# Each time the room may have become less before the shorter call was admitted.
CLAMP_TRIES: Final = 3


def shortened(
    candidates: tuple[Candidate, ...], refused: Refused, *, ceilings_of: Callable[[str], Sequence[Ceiling]]
) -> tuple[Candidate, ...]:
    """Those that fit into the room that a refusal of all of them tells of, as they then are. Empty: none does.

    ceilings_of: a deployment id's, of which none may rather have the call refused; of the refused one that is known.
    """
    shorter = (
        clamped(candidate, refused.room_nanousd, refused.room_tokens)
        for index, candidate in enumerate(candidates)
        if index == refused.bid or all(it.when_tight != "refuse" for it in ceilings_of(candidate.deployment.id))
    )
    return tuple(candidate for candidate in shorter if candidate is not None)


class Held(NamedTuple):
    """What a candidate holds, with the most that it may write."""

    nanousd: int
    tokens: int
    allowed_tokens: int | None

    def fits(self, room_nanousd: int | None, room_tokens: int | None) -> bool:
        """None: there is room enough."""
        return (room_nanousd is None or self.nanousd <= room_nanousd) and (
            room_tokens is None or self.tokens <= room_tokens
        )


def clamped(candidate: Candidate, room_nanousd: int | None, room_tokens: int | None = None) -> Candidate | None:
    """The candidate with the longest answer that costs and uses at most this much. None: not even one token fits.

    A room of None is no bound. A candidate that fits as it is stays so.
    """
    if Held(candidate.held_nanousd, candidate.held_tokens, candidate.allowed_tokens).fits(room_nanousd, room_tokens):
        return candidate
    longest = _limit(candidate)
    if longest is None or not _held(candidate, 1).fits(room_nanousd, room_tokens):
        return None
    fits, too_long = 1, longest
    while too_long - fits > 1:
        middle = (fits + too_long) // 2
        if _held(candidate, middle).fits(room_nanousd, room_tokens):
            fits = middle
        else:
            too_long = middle
    lowered = _lowered(candidate, fits)
    # What the format cannot say of so short an answer (a budget for thoughts) goes, by name.
    body, dropped = fitted({**candidate.body, **lowered}, candidate.deployment, candidate.endpoint)
    held = _held(candidate, fits)
    return msgspec.structs.replace(
        candidate,
        body=body,
        held_nanousd=held.nanousd,
        held_tokens=held.tokens,
        allowed_tokens=held.allowed_tokens,
        dropped_params=candidate.dropped_params
        + tuple(name for name in dropped if name not in candidate.dropped_params),
        clamped=lowered,
    )


def _lowered(candidate: Candidate, max_tokens: int) -> dict[str, int]:
    """{field: its value} of what has to be lower, so that the answer is no longer than this, whichever is heeded.

    Where the call limits its answer nowhere, by the field that its deployment knows.
    """
    given = {name: candidate.body[name] for name in LIMITS if candidate.body.get(name) is not None}
    if not given:
        return {candidate.deployment.adaptation.renamed.get("max_tokens", "max_tokens"): max_tokens}
    return {name: max_tokens for name, limit in given.items() if type(limit) is not int or limit > max_tokens}


def _limit(candidate: Candidate) -> int | None:
    """The most that one choice may have now. None: nobody knows, or there is none, so that no field can lower it."""
    if candidate.endpoint == EMBEDDINGS:
        return None
    return output_bound_tokens(
        {**candidate.body, "n": 1, "best_of": 1},
        max_output_tokens=candidate.deployment.max_output_tokens,
        context_window=candidate.deployment.context_window,
    )


def _held(candidate: Candidate, max_tokens: int) -> Held:
    deployment, price = candidate.deployment, candidate.deployment.price
    assert price is not None
    body = {**candidate.body, **_lowered(candidate, max_tokens)}
    written = output_bound_tokens(
        body, max_output_tokens=deployment.max_output_tokens, context_window=deployment.context_window
    )
    assert written is not None
    read = candidate.read_tokens
    return Held(bound_nanousd(price, body, read, written), read + written, written)
