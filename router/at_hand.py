"""Replies that need no call: a stored answer, or the result of an earlier call under the same Idempotency-Key."""

from collections.abc import AsyncGenerator

import msgspec

from ledger.values import Hit, Replay, StoredResponse
from router.again import Again
from router.answer import Delta
from router.asked import Asked
from router.assemble import replay
from router.call import Call
from router.errors import ResultNotKept
from router.kept import Kept, decode_kept, raised_again
from router.receipt import CacheOutcome
from router.receipts import hit_receipt
from router.replies import StoredReply
from router.reply import Finished, Origin, Reply
from router.stored import Stored, decode_stored
from router.tracing import chat_facts
from telemetry import ChatFacts


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


class ReplayedReply:
    """The result of an earlier call once more. Nothing is under way and nothing is charged."""

    has_next = False  # An error may be.
    again: Again | None = None

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
        dropped_params=(),
        cache="hit",
        answer=stored.answer,
        receipt=hit_receipt(first, response, stored, latency_s=latency_s, ledger_s=0.0),
    )
