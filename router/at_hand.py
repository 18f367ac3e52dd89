"""Replies that need no call: a stored answer, or the result of an earlier call under the same Idempotency-Key."""

import time
from collections.abc import AsyncGenerator

import msgspec

from ledger.values import Hit, Replay, StoredResponse
from router.again import Again
from router.answer import Delta
from router.asked import Asked
from router.assemble import replay
from router.call import Call, EventFormat
from router.errors import ResultNotKept
from router.journey import Facts
from router.kept import Kept, decode_kept, raised_again
from router.receipt import CacheOutcome, Timing
from router.receipts import hit_receipt
from router.reply import Finished, Origin, Reply
from router.stored import Stored, decode_stored
from router.tracing import chat_facts
from telemetry import ChatFacts, names


def reply_at_hand(asked: Asked, found: Hit | Replay, *, ledger_s: float) -> Reply | None:
    """The reply that this is. None: a stored answer that this version does not read, so that there has to be a call.

    Raises ResultNotKept for an earlier call's result that is not there, or cannot be read.
    """
    if isinstance(found, Hit):
        stored = decode_stored(found.response.body)
        return None if stored is None else StoredReply(asked, found.response, stored, ledger_s=ledger_s)
    stored = None if found.hit is None else decode_stored(found.hit.body)
    # As it is on record, to the millisecond: the first answer and its repeats say the same.
    latency_s = (found.taken_at_ms - found.created_at_ms) / 1000
    if found.generation_id == asked.call.generation_id:
        assert found.hit is not None
        if stored is None:
            return None
        return StoredReply(asked, found.hit, stored, ledger_s=ledger_s, latency_s=latency_s)
    kept = None if found.result is None else decode_kept(found.result)
    if found.hit is not None and stored is not None:
        kept = _kept_hit(_first_call(asked.call, found), found.hit, stored, latency_s=latency_s)
    if kept is None:
        raise ResultNotKept(found.generation_id)
    return ReplayedReply(asked, found, kept)


class StoredReply:
    """An answer from the ledger. The call is over already."""

    has_next = True
    cache: CacheOutcome = "hit"
    origin: Origin | None = None
    event_format: EventFormat = ""

    def __init__(
        self,
        asked: Asked,
        response: StoredResponse,
        stored: Stored,
        *,
        ledger_s: float,
        latency_s: float | None = None,
    ) -> None:
        self._asked = asked
        self._response = response
        self.deployment_id = response.deployment
        self.dropped_params = stored.dropped_params
        self.clamped: dict[str, int] = {}
        if latency_s is None:
            latency_s = time.monotonic() - asked.began_s
        receipt = hit_receipt(asked.call, response, stored, latency_s=latency_s, ledger_s=ledger_s)
        self._finished = Finished(answer=stored.answer, receipt=receipt)

    @property
    def timing(self) -> Timing | None:
        return self._finished.receipt.timing

    async def finished(self) -> Finished:
        return self._finished

    async def events(self) -> AsyncGenerator[Delta | Finished, None]:
        for delta in replay(self._finished.answer):
            yield delta
        yield self._finished

    async def aclose(self) -> None:
        """Nothing is under way."""

    def chat_facts(self) -> ChatFacts:
        receipt = self._finished.receipt
        admitted_at_ns = self._asked.began_at_ns + round(receipt.latency_ms * 1e6)
        admitted: Facts = {names.DURATION_MS: receipt.timing.ledger_ms, names.ADMISSION: "hit"}
        return chat_facts(
            self._asked,
            cache="hit",
            outcome="ok",
            receipt=receipt,
            answer=self._finished.answer,
            events=((names.ADMIT, admitted_at_ns, admitted),),
            answer_of=self._response.generation_id,
        )

    @property
    def again(self) -> Again | None:
        """What was said is not at hand where content is captured; an Idempotency-Key answers for itself."""
        asked, response = self._asked, self._response
        if asked.captures_content or asked.call.idempotency is not None:
            return None
        return Again(
            model=asked.call.model,
            route=asked.route,
            facts=asked.facts,
            chat=self.chat_facts(),
            cache_key=asked.shared.cache_key,
            answer_of=response.generation_id,
            deployment=response.deployment,
            saved_nanousd=response.cost_nanousd,
            stored_bytes=len(response.body),
            api_key=asked.call.attribution.key_id,
            deadline_s=asked.call.deadline_s,
        )


class ReplayedReply:
    """The result of an earlier call once more. Nothing is under way and nothing is charged."""

    has_next = False  # An error may be.
    again: Again | None = None
    timing: Timing | None = None

    def __init__(self, asked: Asked, found: Replay, kept: Kept) -> None:
        self._asked = asked
        self._kept = kept
        self.origin: Origin | None = Origin(
            generation_id=found.generation_id, trace_id=found.trace_id, received_at_ms=found.created_at_ms
        )
        self.cache: CacheOutcome = kept.cache
        self.deployment_id = kept.deployment_id
        self.dropped_params = kept.dropped_params
        self.clamped = kept.clamped
        self.event_format = kept.event_format

    async def finished(self) -> Finished:
        kept = self._kept
        if kept.error is not None:
            raise raised_again(kept.error)
        answer = kept.whole_answer()
        assert answer is not None
        assert kept.receipt is not None
        return Finished(answer=answer, receipt=kept.receipt)

    async def events(self) -> AsyncGenerator[Delta | Finished, None]:
        kept = self._kept
        deltas = kept.deltas if kept.deltas or kept.answer is None else replay(kept.answer)
        for delta in deltas:
            yield delta
        yield await self.finished()

    async def aclose(self) -> None:
        """Nothing is under way."""

    def chat_facts(self) -> ChatFacts:
        outcome = "ok" if self._kept.error is None else "aborted"
        return chat_facts(self._asked, cache=self.cache, outcome=outcome)


def _first_call(call: Call, found: Replay) -> Call:
    """The earlier call, which asked for the same by other names."""
    return msgspec.structs.replace(
        call,
        generation_id=found.generation_id,
        received_at_ms=found.created_at_ms,
        trace=msgspec.structs.replace(call.trace, trace_id=found.trace_id),
    )


def _kept_hit(first: Call, response: StoredResponse, stored: Stored, *, latency_s: float) -> Kept:
    return Kept(
        deployment_id=response.deployment,
        dropped_params=stored.dropped_params,
        cache="hit",
        answer=stored.answer,
        receipt=hit_receipt(first, response, stored, latency_s=latency_s, ledger_s=0.0),
    )
