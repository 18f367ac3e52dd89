"""What is told about a call beside its answer: who answered, what it cost, what was tried."""

from typing import Literal

import msgspec

from ledger.usage import Usage

CacheOutcome = Literal["hit", "miss", "coalesced", "bypass"]


class AttemptReport(msgspec.Struct, frozen=True, kw_only=True):
    """One attempt, as callers see it. Times in milliseconds; ttft_ms None: no output came or it was not streamed."""

    provider: str
    model: str
    outcome: str
    status: int | None
    latency_ms: float
    ttft_ms: float | None
    cost_nanousd: int
    hedge: bool = False
    error: str | None = None


class Timing(msgspec.Struct, frozen=True, kw_only=True):
    """Where the time of a call went, in milliseconds, for `server-timing`."""

    queue_ms: float
    ledger_ms: float
    upstream_ms: float


class RouterFacts(msgspec.Struct, frozen=True, kw_only=True):
    """The `telemetry` block of /generate."""

    circuit_breaker_status: str = "closed"
    circuit_breaker_open_count: int = 0
    router_pacing_delay: bool = False
    reasoning_effort: str | None = None
    reasoning_summary_requested: bool = False
    thinking_budget: int | None = None
    include_thoughts: bool | None = None
    reasoning_hint_dropped: bool = False
    thinking_hint_dropped: bool = False


class Receipt(msgspec.Struct, frozen=True, kw_only=True):
    """The account of one finished call. A hit or a follower has cost 0 and no attempts; a hit says what it saved.

    clamped: {field: its value}, where a ceiling had no room for as long an answer as was asked for.
    """

    generation_id: str
    trace_id: str
    provider: str
    model: str
    cache: CacheOutcome
    cost_nanousd: int
    saved_nanousd: int
    cost_basis: str
    usage: Usage | None
    estimated_prompt_tokens: int
    attempts: tuple[AttemptReport, ...]
    dropped_params: tuple[str, ...]
    latency_ms: float
    timing: Timing
    router: RouterFacts
    clamped: dict[str, int] = {}
