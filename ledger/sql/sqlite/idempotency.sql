-- name: find_key
-- What stands under this caller's key, and whether the process of its call is alive. No row: the key is free.
SELECT fingerprint, state, generation_id, trace_id, created_at_ms, taken_at_ms, expires_at_ms, hit, result,
       EXISTS (SELECT 1 FROM owners
                WHERE owners.owner_id = idempotency.owner_id AND owners.lease_until_ms >= :now_ms)
  FROM idempotency
 WHERE caller = :caller AND idempotency_key = :idempotency_key;

-- name: take_key
-- free, orphaned or expired -> in progress, under a lease that runs. No row: the lease is over.
-- Triggers refuse to take it from a call in progress, or over a result that is still kept.
INSERT INTO idempotency (caller, idempotency_key, fingerprint, state, generation_id, owner_id, trace_id, created_at_ms,
                         taken_at_ms, expires_at_ms)
SELECT :caller, :idempotency_key, :fingerprint, 'in_progress', :generation_id, owner_id, :trace_id, :created_at_ms,
       :taken_at_ms, :expires_at_ms
  FROM owners
 WHERE owner_id = :owner_id AND lease_until_ms >= :taken_at_ms
    ON CONFLICT (caller, idempotency_key) DO UPDATE
   SET fingerprint = excluded.fingerprint, state = excluded.state, generation_id = excluded.generation_id,
       owner_id = excluded.owner_id, trace_id = excluded.trace_id, created_at_ms = excluded.created_at_ms,
       taken_at_ms = excluded.taken_at_ms, expires_at_ms = excluded.expires_at_ms, hit = NULL, result = NULL;

-- name: keep_hit
-- in progress -> done, with a stored answer. Only for the call that took the key.
UPDATE idempotency SET state = 'done', hit = :hit
 WHERE caller = :caller AND idempotency_key = :idempotency_key
   AND generation_id = :generation_id AND state = 'in_progress';

-- name: keep_result
-- in progress or orphaned -> done. Only for the call that took the key last; result NULL: too large to keep.
UPDATE idempotency SET state = 'done', result = :result
 WHERE caller = :caller AND idempotency_key = :idempotency_key
   AND generation_id = :generation_id AND state = 'in_progress';

-- name: free_key
-- in progress or orphaned -> free. Only for the call that took the key last.
DELETE FROM idempotency
 WHERE caller = :caller AND idempotency_key = :idempotency_key
   AND generation_id = :generation_id AND state = 'in_progress';

-- name: forget_expired
-- At most :most records whose time is over, less those of calls that are still in progress.
DELETE FROM idempotency
 WHERE rowid IN (SELECT kept.rowid FROM idempotency AS kept
                  WHERE kept.expires_at_ms <= :now_ms
                    AND NOT (kept.state = 'in_progress'
                             AND EXISTS (SELECT 1 FROM owners
                                          WHERE owners.owner_id = kept.owner_id
                                            AND owners.lease_until_ms >= :now_ms))
                  ORDER BY kept.expires_at_ms
                  LIMIT :most);
