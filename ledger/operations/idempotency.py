"""What stands under an Idempotency-Key: looked up and taken with the admission, kept with the settlement."""

from typing import Any, Final

import msgspec

from ledger.database import Database
from ledger.errors import IdempotencyInProgress, IdempotencyMismatch, LeaseOver
from ledger.idempotency import KEPT_MS, MAX_KEPT_BYTES
from ledger.sql import statements
from ledger.values import Admission, AdmitRequest, Follow, Hit, IdempotencyKey, Keeping, Lead, Replay, StoredResponse

SQL: Final = statements("sqlite", "idempotency")
FORGOTTEN_PER_SWEEP: Final = 500


def find_replay(db: Database, request: AdmitRequest) -> Replay | None:
    """What an earlier call was answered under this request's key. None: it has none, or the key is there to be taken.

    Raises IdempotencyMismatch and IdempotencyInProgress.
    """
    key = request.idempotency
    if key is None:
        return None
    row = db.execute(SQL["find_key"], {**_place(key), "now_ms": request.now_ms}).fetchone()
    if row is None:
        return None
    fingerprint, state, generation_id, trace_id, created_at_ms, taken_at_ms, expires_at_ms, hit, result, lives = row
    is_over = expires_at_ms <= request.now_ms and not (state == "in_progress" and lives)
    if is_over or generation_id == request.facts.generation_id:
        # Its own record is a repeat of this very request, which admission answers as it did before.
        return None
    if fingerprint != key.fingerprint:
        raise IdempotencyMismatch(generation_id)
    if state == "in_progress":
        if lives:
            raise IdempotencyInProgress(generation_id)
        return None
    return Replay(
        generation_id=generation_id,
        trace_id=trace_id,
        created_at_ms=created_at_ms,
        taken_at_ms=taken_at_ms,
        hit=None if hit is None else msgspec.msgpack.decode(hit, type=StoredResponse),
        result=result,
    )


def take_key(db: Database, request: AdmitRequest, admission: Admission, *, owner_id: str) -> Admission:
    """Put this call's key in progress, or done with the answer it hit; a call that was not admitted lets go of it.

    Returns the admission; a hit as the replay that its repeats get, so that all of them read the same.
    """
    key, facts = request.idempotency, request.facts
    if key is None:
        return admission
    mine = {**_place(key), "generation_id": facts.generation_id}
    if not isinstance(admission, Lead | Follow | Hit):
        db.execute(SQL["free_key"], mine)
        return admission
    row = {
        **mine,
        "fingerprint": key.fingerprint,
        "owner_id": owner_id,
        "trace_id": facts.trace_id,
        "created_at_ms": facts.created_at_ms,
        "taken_at_ms": request.now_ms,
        "expires_at_ms": request.now_ms + KEPT_MS,
    }
    if db.execute(SQL["take_key"], row).rowcount == 0:
        raise LeaseOver
    if not isinstance(admission, Hit):
        return admission
    hit = msgspec.msgpack.encode(admission.response)
    db.execute(SQL["keep_hit"], {**mine, "hit": _bounded(hit)})
    return Replay(
        generation_id=facts.generation_id,
        trace_id=facts.trace_id,
        created_at_ms=facts.created_at_ms,
        taken_at_ms=request.now_ms,
        hit=admission.response,
        result=None,
    )


def keep(db: Database, keeping: Keeping) -> None:
    """Keep what its call ended with, or free the key. A repeat changes nothing, nor does a call that lost the key."""
    mine = {**_place(keeping.key), "generation_id": keeping.generation_id}
    if keeping.is_over:
        db.execute(SQL["keep_result"], {**mine, "result": _bounded(keeping.result)})
    else:
        db.execute(SQL["free_key"], mine)


def forget_expired(db: Database, *, now_ms: int) -> int:
    """Forget records whose time is over, FORGOTTEN_PER_SWEEP at most. Returns how many."""
    return db.execute(SQL["forget_expired"], {"now_ms": now_ms, "most": FORGOTTEN_PER_SWEEP}).rowcount


def _bounded(result: bytes | None) -> bytes | None:
    return result if result is not None and len(result) <= MAX_KEPT_BYTES else None


def _place(key: IdempotencyKey) -> dict[str, Any]:
    return {"caller": key.caller, "idempotency_key": key.key}
