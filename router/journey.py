"""What is known of one call on its way: plain records that `dispatch` fills in and receipts and spans are made from."""

import asyncio
import time

import msgspec

from ledger.errors import LedgerError
from ledger.usage import Usage
from ledger.values import AttemptResult, Ending, GenerationFacts, Lookup
from router.answer import Answer, Closing, SaysUsage
from router.breaker import Breaker
from router.call import Call
from router.deployments import Deployment, HedgeRule
from router.dialects import event_format
from router.embeddings import ENDPOINT as EMBEDDINGS
from router.errors import RouterError
from router.faults import FAULT_RULES, Fault, Outcome
from router.flights import Flight
from router.lessons import AS_IT_IS, Adaptation, Lesson, lesson_of
from router.limits import AttemptLimits
from router.plan import Candidate
from router.receipt import AttemptReport, Receipt, Timing
from telemetry import format_traceparent
from telemetry.metrics import Gaps

Facts = dict[str, int | float | str | bool]
# What happened, when (Unix nanoseconds), and its facts: for the trace.
Event = tuple[str, int, Facts]


class Attempt(msgspec.Struct, kw_only=True):
    """One attempt in the making. started_at_ns is wall time; *_s are on the monotonic clock, None: not yet.

    was_let_through: False where its deployment's breaker, closed when the call was planned, had opened since, and where
    its provider's gate had no place for it in time; full_for_s: then, how long that may go on.
    was_cut_short: it was stopped by a limit of ours that says nothing about its deployment.
    hedges: the span of the attempt that it was started beside; empty: of none. limits: while it is under way.
    gaps: between what came of its answer, once it is over. is_closed: the ledger has its end.
    breaker, asked_as: its deployment's, as they stood when it was begun. reading: of its answer, until it is charged.
    """

    number: int
    candidate: Candidate
    hold_id: str
    span_id: str
    started_at_ns: int = 0
    queued_s: float = 0.0
    began_s: float | None = None
    first_output_s: float | None = None
    ended_s: float | None = None
    outcome: Outcome | None = None
    fault: Fault | None = None
    answer: Answer | None = None
    closing: Closing | None = None
    result: AttemptResult | None = None
    was_let_through: bool = True
    full_for_s: float | None = None
    was_cut_short: bool = False
    hedges: str = ""
    breaker: Breaker = Breaker()
    asked_as: Adaptation = AS_IT_IS
    limits: AttemptLimits | None = None
    is_closed: bool = False
    gaps: Gaps | None = None
    reading: SaysUsage | None = None

    @property
    def deployment(self) -> Deployment:
        """Where it went."""
        return self.candidate.deployment

    def begin(self) -> None:
        """It is about to be sent."""
        self.started_at_ns = time.time_ns()
        self.began_s = time.monotonic()

    def end(self, outcome: Outcome, fault: Fault | None = None) -> None:
        """It is over. An attempt that never got through its gate began and ended at once."""
        if self.began_s is None:
            self.begin()
        self.ended_s = time.monotonic()
        self.outcome, self.fault = outcome, fault

    def turn_away(self, full_for_s: float, fault: Fault) -> None:
        """There is no place for it in time. It was not sent, so the next deployment may be tried."""
        self.was_let_through, self.full_for_s = False, full_for_s
        self.end(fault.outcome, fault)

    @property
    def usage_so_far(self) -> Usage | None:
        """What its provider has said that it counted. None: nothing."""
        return None if self.reading is None else self.reading.usage_so_far()

    @property
    def latency_s(self) -> float:
        """From its first byte out to its end."""
        assert self.began_s is not None
        assert self.ended_s is not None
        return self.ended_s - self.began_s

    @property
    def ttft_s(self) -> float | None:
        """From its first byte out to its first output. None: not streamed, or none came."""
        if self.first_output_s is None or self.began_s is None:
            return None
        return self.first_output_s - self.began_s

    @property
    def first_output_at_ns(self) -> int | None:
        """When its first output came, as wall time. None: not streamed, or none came."""
        ttft_s = self.ttft_s
        return None if ttft_s is None else self.started_at_ns + round(ttft_s * 1e9)

    @property
    def counts_for_breaker(self) -> bool:
        """Whether the provider is to blame. A rate limit is its right, but one without a word of when to come back,
        again and again, is an outage by another name.
        """
        if self.outcome is None or self.was_cut_short:
            return False
        if self.outcome == Outcome.RATE_LIMITED:
            return self.fault is not None and self.fault.retry_after_s is None
        return FAULT_RULES[self.outcome].counts_for_breaker

    def lesson(self) -> Lesson | None:
        """What its provider's refusal taught. None: nothing."""
        if self.fault is None:
            return None
        may_move = self.deployment.has_endpoints and self.candidate.endpoint != EMBEDDINGS
        return lesson_of(self.fault, self.candidate.body, has_endpoints=may_move)

    def report(self) -> AttemptReport:
        """What callers are told of it."""
        assert self.result is not None
        ttft_s = self.ttft_s
        return AttemptReport(
            provider=self.deployment.provider.name,
            model=self.deployment.model,
            outcome=self.result.outcome,
            status=self.result.status,
            latency_ms=round(self.latency_s * 1000, 3),
            ttft_ms=None if ttft_s is None else round(ttft_s * 1000, 3),
            cost_nanousd=self.result.cost_nanousd or 0,
            hedge=bool(self.hedges),
            error=None if self.fault is None else self.fault.message,
        )


class Journey(msgspec.Struct, kw_only=True):
    """One led call: what was asked, what was planned, what was tried, and where its time went (seconds).

    told: the error that its own caller was told before it was over. receipt: its account, once it is kept under a key.
    hedge: when to start a further attempt beside a slow one. winner: the attempt under way whose output came first.
    late: those that have lost and still drain. last_number: of the attempt that was numbered last. ending: what the
    ledger was told of its end. queued_s: how long it waited, other than for a place at a provider.
    """

    call: Call
    route: str
    facts: GenerationFacts
    lookup: Lookup | None
    storing_ttl_s: int | None
    replaces_stored: bool
    candidates: tuple[Candidate, ...]
    flight: Flight
    began_s: float
    hedge: HedgeRule | None = None
    winner: Attempt | None = None
    late: list[asyncio.Task[None]] = []
    last_number: int = 1
    ending: Ending | None = None
    attempts: list[Attempt] = []
    estimated_prompt_tokens: int = 0
    ledger_s: float = 0.0
    events: list[Event] = []
    breaker_status: str = "closed"
    breaker_open_count: int = 0
    was_paced: bool = False
    queued_s: float = 0.0
    told: RouterError | LedgerError | None = None
    receipt: Receipt | None = None

    @property
    def streams_upstream(self) -> bool:
        """Whether answers are asked for as events: a first output can only be seen there."""
        return self.call.stream or self.hedge is not None

    def headers_of(self, attempt: Attempt) -> dict[str, str]:
        """What goes with its request: what the caller had forwarded, and the attempt's own place in the trace."""
        trace = self.call.trace
        headers = {
            **self.call.forwarded_headers,
            "traceparent": format_traceparent(trace.trace_id, attempt.span_id, sampled=trace.sampled),
        }
        if trace.tracestate:
            headers["tracestate"] = trace.tracestate
        return headers

    def keeps_events(self, attempt: Attempt) -> bool:
        """Whether its provider's events can pass as they come, for they are what its caller reads."""
        given = event_format(attempt.deployment, attempt.candidate.endpoint)
        return self.call.stream and given != "" and given == self.call.event_format

    def win(self, attempt: Attempt) -> bool:
        """This attempt has output, or its end: whether it is the first to. All others are told that they have lost.

        Who lost in an earlier round, and is read on to learn what it costs, wins no later one.
        """
        if self.winner is None and not (attempt.limits is not None and attempt.limits.has_lost):
            self.winner = attempt
            for other in self.attempts:
                if other is not attempt and other.limits is not None:
                    other.limits.lose()
        return self.winner is attempt

    def within_max_cost(self, candidates: tuple[Candidate, ...]) -> tuple[Candidate, ...]:
        """Those that its caller's own limit has room for, beside what its attempts cost, or hold as yet."""
        limit = self.call.max_cost_nanousd
        if limit is None:
            return candidates
        return tuple(it for it in candidates if self.taken_nanousd + it.held_nanousd <= limit)

    @property
    def taken_nanousd(self) -> int:
        """What its attempts came to, and what those that are not over may."""
        return sum(
            attempt.candidate.held_nanousd if attempt.result is None else attempt.result.cost_nanousd or 0
            for attempt in self.attempts
        )

    def unclosed(self) -> tuple[Attempt, ...]:
        """The attempts that are over, and whose end the ledger has not."""
        return tuple(attempt for attempt in self.attempts if attempt.result is not None and not attempt.is_closed)

    @property
    def reports(self) -> tuple[AttemptReport, ...]:
        """The attempts that are over."""
        return tuple(attempt.report() for attempt in self.attempts if attempt.result is not None)

    @property
    def cost_nanousd(self) -> int:
        """What its attempts came to."""
        return sum(attempt.result.cost_nanousd or 0 for attempt in self.attempts if attempt.result is not None)

    @property
    def timing(self) -> Timing:
        """Where its time went, in attempts that are over."""
        return self._timing([(it.began_s, it.ended_s) for it in self.attempts if it.began_s and it.ended_s])

    def timing_until(self, now_s: float) -> Timing:
        """Where its time went until now, on the monotonic clock: in the attempt under way, too."""
        return self._timing([(it.began_s, it.ended_s or now_s) for it in self.attempts if it.began_s])

    def _timing(self, spans: list[tuple[float, float]]) -> Timing:
        queued_s = self.queued_s + sum(attempt.queued_s for attempt in self.attempts)
        return Timing(
            queue_ms=round(queued_s * 1000, 3),
            ledger_ms=round(self.ledger_s * 1000, 3),
            upstream_ms=round(_together(spans) * 1000, 3),
        )


def _together(spans: list[tuple[float, float]]) -> float:
    """How long at least one of them lasted. Spans as (began, ended)."""
    if len(spans) == 1:
        return spans[0][1] - spans[0][0]
    total_s, until_s = 0.0, float("-inf")
    for began_s, ended_s in sorted(spans):
        total_s += max(0.0, ended_s - max(began_s, until_s))
        until_s = max(until_s, ended_s)
    return total_s
