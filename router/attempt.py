"""Runs one attempt at one deployment, from its gate to its end.

Nobody cancels an attempt from outside: its own timer fires, and then it is asked why. Source: DESIGN §5.
"""

import time
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from functools import partial

from ledger.values import Lead
from router.alternatives import Alternatives
from router.answer import Closing, Delta, SaysUsage
from router.assemble import Assembly
from router.breaker import BreakerEvent
from router.deployments import HedgeRule
from router.faults import Fault, Outcome
from router.flights import Flight
from router.gates import RETRY_AFTER_S, Gates, NoPlace, Pass
from router.health import Health
from router.hedging import first_after_s
from router.hints import Evidence
from router.journey import Attempt, Journey
from router.lessons import CHAT
from router.limits import AttemptLimits, StreamLimits
from router.plan import Candidate
from router.providers.upstream import Upstream
from router.ratelimit import wait_after_success_s
from router.until import Until
from telemetry import new_span_id


class AttemptRunner:
    """What an attempt needs: the providers' dialects, their gates, and what is known of their health."""

    def __init__(
        self,
        upstreams: Mapping[str, Upstream],
        *,
        gates: Gates,
        health: Health,
        stream_limits: StreamLimits,
        clock_ms: Callable[[], int],
    ) -> None:
        self._upstreams = upstreams
        self._gates = gates
        self._health = health
        self._stream_limits = stream_limits
        self._clock_ms = clock_ms
        self.alternatives = Alternatives(health)

    def begin(self, journey: Journey, lead: Lead, *, hedges: str = "") -> Attempt:
        """The attempt that this hold is for, not yet under way. hedges: the span of the one it is started beside."""
        candidate = journey.candidates[lead.bid]
        attempt = Attempt(
            number=lead.attempt,
            candidate=candidate,
            hold_id=lead.hold_id,
            span_id=new_span_id(),
            hedges=hedges,
            breaker=self._health.breaker(candidate.deployment.id),
            asked_as=self._health.hints.asked_as(candidate.deployment.id),
        )
        journey.attempts.append(attempt)
        if not hedges:
            _show(journey.flight, candidate)
        return attempt

    async def run(self, journey: Journey, attempt: Attempt) -> None:
        """Take it to its end: its outcome, and all of the answer that came. A provider's fault is not raised."""
        if not await self._health.admit(attempt.deployment.id):
            attempt.was_let_through = False
            attempt.end(Outcome.ABORTED, Fault(Outcome.ABORTED, "it is left alone since", sent=False))
            return
        try:
            await self._listen(journey, attempt)
        finally:
            # Also after a bug: a probe that is never answered for would keep its breaker half-open for good.
            self._record_health(journey, attempt)
            self._record_speed(attempt, is_streamed=journey.call.stream)

    def hedge_after_s(self, first: Attempt, rule: HedgeRule) -> float:
        """How long to wait for this attempt's output before the first hedge."""
        return first_after_s(rule, self._health.usual_first_output_s(first.deployment.id))

    async def _listen(self, journey: Journey, attempt: Attempt) -> None:
        flight = journey.flight
        limits = attempt.limits = self._limits(journey, attempt)
        assembly = Assembly()
        waiting_since_s = time.monotonic()
        try:
            with Until(None) as timer:
                limits.watch(timer)
                await self._exchange(journey, attempt, limits, assembly)
        except TimeoutError:
            stopped = limits.fault(waited_s=time.monotonic() - waiting_since_s)
            attempt.was_cut_short = limits.was_cut_short
            if limits.gave_up_queueing:
                attempt.turn_away(RETRY_AFTER_S, stopped)
            else:
                attempt.end(stopped.outcome, stopped)
        except NoPlace as full:
            words = f"too many calls wait for {attempt.deployment.provider.name}"
            attempt.turn_away(full.retry_after_s, Fault(Outcome.ABORTED, words, sent=False))
        except Fault as fault:
            is_cut = flight.has_output and journey.winner is attempt
            attempt.end(Outcome.CUT if is_cut else fault.outcome, fault)
        else:
            if limits.is_draining or journey.winner is not attempt:
                # It is whole, and still nobody has use for it.
                attempt.end(Outcome.ABORTED, limits.fault(waited_s=time.monotonic() - waiting_since_s))
            else:
                attempt.end(Outcome.OK)
        finally:
            limits.release()
            attempt.limits, attempt.gaps = None, limits.gaps
            attempt.answer = assembly.answer(attempt.closing)
        if attempt.outcome == Outcome.OK and not journey.call.stream:
            flight.add_whole(attempt.answer)

    def _limits(self, journey: Journey, attempt: Attempt) -> AttemptLimits:
        limits = AttemptLimits(
            journey.flight,
            attempt.deployment.provider,
            self._stream_limits,
            is_streamed=journey.streams_upstream,
            is_heard_whole=not journey.call.stream,
            has_alternative=len(journey.candidates) > 1 and bool(self.alternatives.untried(journey)),
        )
        if journey.winner is not None:
            limits.lose()
        return limits

    async def _exchange(self, journey: Journey, attempt: Attempt, limits: AttemptLimits, assembly: Assembly) -> None:
        flight, deployment, is_streamed = journey.flight, attempt.deployment, journey.streams_upstream
        # A role or a ping before the first output commits nobody: the next deployment may still be tried.
        untold: list[Delta] = []
        async with self._queue(flight, attempt, limits):
            limits.send(is_too_late=self.alternatives.is_too_slow(journey, attempt.candidate))
            attempt.begin()
            self._health.speeds.asked(deployment.id, is_streamed=journey.call.stream)
            flight.waited_for = f"{deployment.id} to answer"
            async with aclosing(self._events(journey, attempt)) as events:
                async for event in events:
                    if isinstance(event, Closing):
                        attempt.closing = event
                        continue
                    assembly.add(event)
                    if not is_streamed:
                        continue
                    is_output = event.is_output
                    limits.heard(is_output=is_output)
                    untold.append(event)
                    if is_output and attempt.first_output_s is None:
                        attempt.first_output_s = time.monotonic()
                        if journey.win(attempt):
                            _show(flight, attempt.candidate)
                    if attempt.first_output_s is not None:
                        _tell(journey, attempt, untold)
                        if flight.outruns_all and journey.winner is attempt:
                            await _wait_for_readers(flight, limits)
        if attempt.closing is None:
            raise Fault(Outcome.CUT, "the answer ended without saying so")
        journey.win(attempt)
        _tell(journey, attempt, untold)

    def _events(self, journey: Journey, attempt: Attempt) -> AsyncGenerator[Delta | Closing, None]:
        """What its provider answers. Nothing is asked before the first of them is."""
        deployment, candidate = attempt.deployment, attempt.candidate
        return self._upstreams[deployment.provider.dialect].attempt(
            deployment,
            candidate.body,
            stream=journey.streams_upstream,
            headers=journey.headers_of(attempt),
            on_answer=partial(self._hear, attempt),
            endpoint=candidate.endpoint,
            keeps_events=journey.keeps_events(attempt),
            body_bytes=journey.call.body_bytes,
        )

    def _queue(self, flight: Flight, attempt: Attempt, limits: AttemptLimits) -> Pass:
        """A place at the provider for the length of a block. However the wait for it ends, it is told."""
        provider = attempt.deployment.provider
        flight.waited_for = f"a free place at {provider.name}"

        def tell(waited_s: float) -> None:
            attempt.queued_s = waited_s

        return self._gates.gate(provider).pass_through(within_s=limits.queues_for_s, waited=tell)

    def _record_health(self, journey: Journey, attempt: Attempt) -> None:
        deployment_id = attempt.deployment.id
        self._record_hint(journey, attempt)
        if attempt.outcome == Outcome.OK:
            latency_us = round(attempt.latency_s * 1_000_000)
            ttft_us = None if attempt.ttft_s is None else round(attempt.ttft_s * 1_000_000)
            self._health.record(deployment_id, BreakerEvent.SUCCESS, latency_us=latency_us, ttft_us=ttft_us)
            return
        wait_s = attempt.fault.retry_after_s if attempt.fault is not None else None
        if wait_s is not None:
            self._health.pacing.pace(deployment_id, wait_s)
        self._health.record(deployment_id, BreakerEvent.FAULT if attempt.counts_for_breaker else BreakerEvent.NEUTRAL)

    def _record_hint(self, journey: Journey, attempt: Attempt) -> None:
        hints, workflow = self._health.hints, journey.call.attribution.workflow
        endpoint = _endpoint_of(journey, attempt)
        if attempt.outcome == Outcome.OK:
            hints.succeeded(attempt.deployment.id, workflow=workflow, endpoint=endpoint)
            return
        evidence = Evidence(
            outcome=attempt.outcome or Outcome.LOST,
            at_ms=self._clock_ms(),
            fault=attempt.fault,
            workflow=workflow,
            endpoint=endpoint,
            lesson=attempt.lesson(),
            was_cut_short=attempt.was_cut_short,
        )
        hints.failed(attempt.deployment.id, evidence)

    def _record_speed(self, attempt: Attempt, *, is_streamed: bool) -> None:
        speeds, deployment_id = self._health.speeds, attempt.deployment.id
        if attempt.outcome == Outcome.STALLED:
            speeds.kept_waiting(deployment_id, attempt.latency_s, is_streamed=is_streamed)
        elif attempt.outcome == Outcome.OK:
            allowed = attempt.candidate.allowed_tokens
            speeds.answered(deployment_id, attempt.latency_s, is_streamed=False, allowed_tokens=allowed)
            if attempt.ttft_s is not None:
                speeds.answered(deployment_id, attempt.ttft_s, is_streamed=True, allowed_tokens=allowed)

    def _hear(self, attempt: Attempt, headers: Mapping[str, str], reading: SaysUsage) -> None:
        attempt.reading = reading
        wait_s = wait_after_success_s(headers, now_ms=self._clock_ms())
        if wait_s is not None:
            self._health.pacing.pace(attempt.deployment.id, wait_s)


def _endpoint_of(journey: Journey, attempt: Attempt) -> str:
    """Where a chat was asked for, by name; empty: its dialect has only one such place."""
    is_chat = journey.call.kind == "chat" and attempt.deployment.has_endpoints
    return attempt.candidate.endpoint or (CHAT if is_chat else "")


def _tell(journey: Journey, attempt: Attempt, untold: list[Delta]) -> None:
    """Let a streamed flight hear what came, if this attempt was the first to have output."""
    if journey.winner is attempt and journey.call.stream:
        journey.flight.add(*untold)
    untold.clear()


async def _wait_for_readers(flight: Flight, limits: AttemptLimits) -> None:
    """Read no further ahead: its connection makes the provider wait. The silence is not the provider's."""
    limits.pause()
    try:
        await flight.outrun_no_more()
    finally:
        limits.resume()


def _show(flight: Flight, candidate: Candidate) -> None:
    """Whose answer the flight is, as far as is known: a stream's headers say so."""
    flight.deployment_id = candidate.deployment.id
    flight.dropped_params, flight.clamped = candidate.dropped_params, candidate.clamped
