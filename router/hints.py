"""What was learned of a deployment from its answers and errors: counts, a block, how it wants to be asked.

A block keeps calls away until a moment; then exactly one call goes as a probe, and its success lifts the block. Values
and pure rules; `router.hint_keeper` keeps them for all processes. Source: DESIGN §5, Hints.
"""

from enum import StrEnum
from typing import Final

import msgspec

from router.embeddings import ENDPOINT as EMBEDDINGS
from router.faults import FAULT_RULES, Fault, Learns, Outcome, refuses_key
from router.lessons import Adaptation, Lesson

FAILURES_THAT_BLOCK: Final = 5
FORBIDDEN_THAT_BLOCK: Final = 3
MOST_WORKFLOWS: Final = 20
OTHER_WORKFLOWS: Final = "(others)"
# How long a probe may be out before the process that sent it is taken for dead.
PROBE_CLAIM_MS: Final = 60_000


class Cause(StrEnum):
    """Why a deployment is blocked."""

    KEY_REFUSED = "key_refused"
    OUT_OF_CREDIT = "out_of_credit"
    FAILING = "failing"
    NOT_SUPPORTED = "not_supported"
    OPERATOR = "operator"


class Pace(msgspec.Struct, frozen=True):
    """When a block is probed: after first_ms, each time so many times later, at most longest_ms."""

    first_ms: int
    growth: int
    longest_ms: int


MINUTE_MS: Final = 60_000
PACES: Final = {
    Cause.KEY_REFUSED: Pace(MINUTE_MS, 1, MINUTE_MS),
    Cause.OUT_OF_CREDIT: Pace(MINUTE_MS, 1, MINUTE_MS),
    Cause.FAILING: Pace(MINUTE_MS, 2, 60 * MINUTE_MS),
    Cause.NOT_SUPPORTED: Pace(60 * MINUTE_MS, 2, 24 * 60 * MINUTE_MS),
}


class BlockState(StrEnum):
    """Whether calls may go."""

    FREE = "free"
    BLOCKED = "blocked"
    PROBING = "probing"
    HELD = "held"


class BlockEvent(StrEnum):
    """What may happen to a block. FAULT: an attempt ended by what blocks; NEUTRAL: by what says nothing of that."""

    SUCCESS = "success"
    FAULT = "fault"
    NEUTRAL = "neutral"
    TIME_UP = "time_up"
    BLOCK = "block"
    ALLOW = "allow"


# What is not here changes nothing. HELD is an operator's, and only an operator lifts it.
TRANSITIONS: Final = {
    (BlockState.FREE, BlockEvent.FAULT): BlockState.BLOCKED,
    (BlockState.BLOCKED, BlockEvent.TIME_UP): BlockState.PROBING,
    (BlockState.BLOCKED, BlockEvent.SUCCESS): BlockState.FREE,
    (BlockState.PROBING, BlockEvent.SUCCESS): BlockState.FREE,
    (BlockState.PROBING, BlockEvent.FAULT): BlockState.BLOCKED,
    (BlockState.PROBING, BlockEvent.NEUTRAL): BlockState.BLOCKED,
    **{(state, BlockEvent.BLOCK): BlockState.HELD for state in BlockState},
    **{(state, BlockEvent.ALLOW): BlockState.FREE for state in BlockState},
}
_MAY_BLOCK: Final = frozenset(state for state in BlockState if (state, BlockEvent.FAULT) in TRANSITIONS)


class Block(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A block and when it is probed. prober: the process whose probe is out, until `until_ms` at the latest."""

    cause: Cause
    since_ms: int
    until_ms: int
    wait_ms: int
    prober: str = ""
    reason: str = ""

    @property
    def state(self) -> BlockState:
        """Where it stands."""
        if self.cause == Cause.OPERATOR:
            return BlockState.HELD
        return BlockState.PROBING if self.prober else BlockState.BLOCKED


class LastError(msgspec.Struct, frozen=True, kw_only=True):
    """The last error. code: the provider's, never its words, which may quote a prompt."""

    outcome: str
    at_ms: int
    status: int | None = None
    code: str = ""


class Tried(msgspec.Struct, frozen=True, omit_defaults=True):
    """How often it answered, and failed."""

    successes: int = 0
    errors: int = 0


class Hint(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """All that is known of one deployment. errors: {outcome: how often}; endpoints: {endpoint: whether it works}.

    failures, unsupported, forbidden: since it last answered. adaptation: how it wants to be asked. preferred: an
    operator's endpoint, which counts more.
    """

    successes: int = 0
    errors: dict[str, int] = {}
    workflows: dict[str, Tried] = {}
    last_error: LastError | None = None
    failures: int = 0
    unsupported: int = 0
    forbidden: int = 0
    block: Block | None = None
    adaptation: Adaptation = Adaptation()
    endpoints: dict[str, bool] = {}
    preferred: str = ""

    @property
    def state(self) -> BlockState:
        """Whether calls may go."""
        return BlockState.FREE if self.block is None else self.block.state

    @property
    def is_sound(self) -> bool:
        """Whether another success changes nothing but its count."""
        return self.block is None and not (self.failures or self.unsupported or self.forbidden)

    @property
    def asked_as(self) -> Adaptation:
        """How to ask it."""
        if not self.preferred:
            return self.adaptation
        return msgspec.structs.replace(self.adaptation, endpoint=self.preferred)


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """What the end of one attempt says of its deployment. endpoint: where it was asked, if not at its dialect's own."""

    outcome: Outcome
    at_ms: int
    fault: Fault | None = None
    workflow: str = ""
    endpoint: str = ""
    lesson: Lesson | None = None
    was_cut_short: bool = False


def after_successes(hint: Hint, *, count: int, workflow: str, endpoint: str, ends_trouble: bool = True) -> Hint:
    """The hint after so many answers. ends_trouble: what failed before, failed before them."""
    counted = _counted(hint, workflow, successes=count)
    if endpoint and not counted.endpoints.get(endpoint):
        counted = msgspec.structs.replace(counted, endpoints={**counted.endpoints, endpoint: True})
    if not ends_trouble:
        return counted
    lifted = msgspec.structs.replace(counted, failures=0, unsupported=0, forbidden=0)
    return _moved(lifted, BlockEvent.SUCCESS)


def after(hint: Hint, evidence: Evidence) -> Hint:
    """The hint after an attempt that gave no answer."""
    if FAULT_RULES[evidence.outcome].learns == Learns.NOTHING or evidence.was_cut_short:
        return _moved(hint, BlockEvent.NEUTRAL)
    noted = _noted(_counted(hint, evidence.workflow, errors=1), evidence)
    if evidence.lesson is not None:
        # It was asked in a way it does not know: that speaks against nobody.
        return _moved(_taught(noted, evidence.lesson), BlockEvent.NEUTRAL)
    counted, cause = _judged(noted, evidence)
    if cause is None:
        return _moved(counted, BlockEvent.NEUTRAL)
    return _blocked(counted, cause, evidence.at_ms) if counted.state in _MAY_BLOCK else counted


def after_neutral(hint: Hint) -> Hint:
    """The hint after a call that was let through, and did not go."""
    return _moved(hint, BlockEvent.NEUTRAL)


def claimed(hint: Hint, process: str, now_ms: int) -> tuple[Hint, bool]:
    """The next hint, and whether this call may go. Once a block's time is up, one call may, of all processes' calls."""
    block = hint.block
    if block is None:
        return hint, True
    if block.state == BlockState.HELD or now_ms < block.until_ms:
        return hint, False
    # Either its time is up, or the process that probed is gone.
    probe = msgspec.structs.replace(block, prober=process, until_ms=now_ms + PROBE_CLAIM_MS)
    return msgspec.structs.replace(hint, block=probe), True


def returns_at_ms(hint: Hint, now_ms: int) -> int | None:
    """When a call may go, at the earliest. None: not before an operator lifts it."""
    if hint.block is None:
        return now_ms
    return None if hint.block.state == BlockState.HELD else hint.block.until_ms


def _counted(hint: Hint, workflow: str, *, successes: int = 0, errors: int = 0) -> Hint:
    workflows = hint.workflows
    if workflow:
        name = workflow if workflow in workflows or len(workflows) < MOST_WORKFLOWS else OTHER_WORKFLOWS
        before = workflows.get(name, Tried())
        workflows = {**workflows, name: Tried(before.successes + successes, before.errors + errors)}
    return msgspec.structs.replace(hint, successes=hint.successes + successes, workflows=workflows)


def _noted(hint: Hint, evidence: Evidence) -> Hint:
    fault, outcome = evidence.fault, evidence.outcome.value
    error = LastError(
        outcome=outcome,
        at_ms=evidence.at_ms,
        status=None if fault is None else fault.status,
        code="" if fault is None else fault.code,
    )
    errors = {**hint.errors, outcome: hint.errors.get(outcome, 0) + 1}
    return msgspec.structs.replace(hint, errors=errors, last_error=error)


def _taught(hint: Hint, lesson: Lesson) -> Hint:
    if not lesson.is_lasting:
        return hint
    endpoints = {**hint.endpoints, **({lesson.not_endpoint: False} if lesson.not_endpoint else {})}
    return msgspec.structs.replace(hint, adaptation=hint.adaptation.with_lesson(lesson), endpoints=endpoints)


def _judged(hint: Hint, evidence: Evidence) -> tuple[Hint, Cause | None]:
    """The counts that lead to a block, and the block that follows."""
    is_probe = hint.state == BlockState.PROBING
    match FAULT_RULES[evidence.outcome].learns:
        case Learns.OUT_OF_CREDIT:
            return hint, Cause.OUT_OF_CREDIT
        case Learns.KEY_REFUSED:
            counted = msgspec.structs.replace(hint, forbidden=hint.forbidden + 1)
            refused = evidence.fault is not None and refuses_key(evidence.fault)
            is_over = refused or is_probe or counted.forbidden >= FORBIDDEN_THAT_BLOCK
            return counted, Cause.KEY_REFUSED if is_over else None
        case Learns.NOT_SUPPORTED if not is_probe and _knows_the_other_kind(hint, evidence.endpoint):
            return hint, None
        case Learns.NOT_SUPPORTED:
            counted = msgspec.structs.replace(hint, unsupported=hint.unsupported + 1)
            return counted, Cause.NOT_SUPPORTED if is_probe or counted.unsupported >= FAILURES_THAT_BLOCK else None
        case Learns.FAILS:
            counted = msgspec.structs.replace(hint, failures=hint.failures + 1)
            # What has answered before is its breaker's business.
            never_answered = not hint.successes and counted.failures >= FAILURES_THAT_BLOCK
            return counted, Cause.FAILING if is_probe or never_answered else None
        case Learns.ANSWERS | Learns.COUNTED | Learns.NOTHING:
            return hint, None


def _knows_the_other_kind(hint: Hint, endpoint: str) -> bool:
    """Whether it answers chats, asked for an embedding, or the other way round: there is nothing wrong with it then."""
    embeds = hint.endpoints.get(EMBEDDINGS, False)
    if endpoint != EMBEDDINGS:
        return embeds
    # A dialect with one place for chats does not name it.
    return hint.successes > 0 if not embeds else any(it for name, it in hint.endpoints.items() if name != EMBEDDINGS)


def _blocked(hint: Hint, cause: Cause, now_ms: int) -> Hint:
    pace, before = PACES[cause], hint.block
    is_again = before is not None and before.cause == cause
    wait_ms = min(before.wait_ms * pace.growth, pace.longest_ms) if before is not None and is_again else pace.first_ms
    since_ms = before.since_ms if before is not None else now_ms
    block = Block(cause=cause, since_ms=since_ms, until_ms=now_ms + wait_ms, wait_ms=wait_ms)
    return msgspec.structs.replace(hint, block=block)


def _moved(hint: Hint, event: BlockEvent) -> Hint:
    """The hint after an event that needs no more than the table."""
    state = TRANSITIONS.get((hint.state, event), hint.state)
    if state == hint.state or hint.block is None:
        return hint
    if state == BlockState.FREE:
        return msgspec.structs.replace(hint, block=None)
    # The probe proved nothing: the next call may try.
    freed = msgspec.structs.replace(hint.block, prober="", until_ms=0)
    return msgspec.structs.replace(hint, block=freed)
