"""A call in one line, for whoever watches calls come and go. Never a prompt, never an answer."""

from typing import Final, Literal

import msgspec

# In this order: waiting to be admitted; admitted; its first output was told to its caller; over.
CallState = Literal["waiting", "running", "output", "ended"]
STATES: Final[tuple[CallState, ...]] = ("waiting", "running", "output", "ended")
# How many calls one reading tells, of each kind that it looks for.
MOST_LATEST: Final = 100


class CallSummary(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of one call at one moment. Empty texts: not said, or not known yet.

    deployment: whose answer it was, else the last one tried. attempts: how many were begun; tokens: of the attempt that
    answered. cost_nanousd None: it will be known. outcome: of the last attempt, once the call is over; `refused` if it
    was not admitted, `replayed` if it is the repeat of an earlier one, which `origin` names: neither is on record.
    error_code: what its caller was told.
    """

    id: str
    state: CallState
    created_at: str
    route: str = ""
    deployment: str = ""
    key: str = ""
    key_name: str = ""
    team: str = ""
    user: str = ""
    workflow: str = ""
    stream: bool = False
    cache: str = ""
    attempts: int = 0
    outcome: str = ""
    error_code: str = ""
    cost_nanousd: int | None = None
    cost_usd: str | None = None
    saved_nanousd: int = 0
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    latency_ms: float | None = None
    ttft_ms: float | None = None
    trace_id: str = ""
    origin: str = ""

    def joined(self, other: "CallSummary") -> "CallSummary":
        """What both together say of one call, wherever either was learned: the further one, with all attempts."""
        further = other if _progress(other) > _progress(self) else self
        return msgspec.structs.replace(further, attempts=max(self.attempts, other.attempts))


def _progress(call: CallSummary) -> tuple[int, bool]:
    return STATES.index(call.state), call.state == "ended" and call.cost_nanousd is not None
