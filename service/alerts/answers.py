"""What a target's answer means, and what becomes of the delivery. Pure; chance and time are handed in.

A delivery is pending until it is delivered or dead. Source of the rules: Standard Webhooks 1.0.0, "Delivery success
and failure": any 2xx is success; 410 says that nothing more is wanted; everything else, redirects and other 4xx
included, is a failure that somebody may mend, and is tried again.
"""

from enum import StrEnum
from typing import Final, Self

import msgspec

from ledger.events import DeliveryState

# After the first failure, doubling with each further one. A try comes anywhere up to then ("full jitter"), so that what
# failed together does not come back together.
BACKOFF_S: Final = 5.0
BACKOFF_CAP_S: Final = 3600.0
# Given up is what is this old and was tried this often: neither a night without network nor one bad minute is enough.
PATIENCE_MS: Final = 24 * 3600 * 1000
TRIES: Final = 10
# What says that the target itself is in trouble, and not this one message: 408, 425, 429 and every 5xx.
_TROUBLE: Final = frozenset({408, 425, 429})
GONE: Final = 410


class Outcome(StrEnum):
    """What happens to a delivery. exhausted: failed for the last time. retry: an operator's wish."""

    ACCEPTED = "accepted"
    FAILED = "failed"
    EXHAUSTED = "exhausted"
    GONE = "gone"
    RETRY = "retry"


# What is not here cannot be: one that was delivered stays so, and only an operator begins a dead one again.
TRANSITIONS: Final[dict[tuple[DeliveryState, Outcome], DeliveryState]] = {
    ("pending", Outcome.ACCEPTED): "delivered",
    ("pending", Outcome.FAILED): "pending",
    ("pending", Outcome.EXHAUSTED): "dead",
    ("pending", Outcome.GONE): "dead",
    ("dead", Outcome.RETRY): "pending",
}


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """How one try ended. said: in plain words, without the target's address; empty for success.

    status None: there was no answer. is_trouble: the target's own, so that other messages may wait, too; retry_after_s:
    for how long, where it says so.
    """

    outcome: Outcome
    status: int | None = None
    said: str = ""
    is_trouble: bool = False
    retry_after_s: float | None = None

    @classmethod
    def accepted(cls, status: int | None = None) -> Self:
        """It was taken."""
        return cls(outcome=Outcome.ACCEPTED, status=status)


def answer_of(status: int, *, retry_after_s: float | None = None) -> Answer:
    """What an HTTP status means."""
    if 200 <= status < 300:
        return Answer.accepted(status)
    if status == GONE:
        return Answer(outcome=Outcome.GONE, status=status, said="answered 410: it wants nothing more")
    is_trouble = status in _TROUBLE or status >= 500
    said = f"answered {status}, a redirect, which is not followed" if 300 <= status < 400 else f"answered {status}"
    return Answer(outcome=Outcome.FAILED, status=status, said=said, is_trouble=is_trouble, retry_after_s=retry_after_s)


def no_answer(said: str) -> Answer:
    """None came, or none that says more."""
    return Answer(outcome=Outcome.FAILED, said=said, is_trouble=True)


def outcome_of(answer: Answer, *, tries: int, age_ms: int) -> Outcome:
    """What a try means for its delivery. tries: with this one; age_ms: of the event."""
    if answer.outcome == Outcome.FAILED and tries >= TRIES and age_ms >= PATIENCE_MS:
        return Outcome.EXHAUSTED
    return answer.outcome


def wait_s(failures: int, *, chance: float, retry_after_s: float | None = None, cap_s: float = BACKOFF_CAP_S) -> float:
    """How long to wait after so many failures in a row, one at least. chance: from 0 to 1, the share of the longest."""
    longest_s = min(cap_s, BACKOFF_S * 2.0 ** min(failures - 1, 30))
    return max(chance * longest_s, retry_after_s or 0.0)
