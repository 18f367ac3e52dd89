-- name: forget_expired
DELETE FROM idempotency
 WHERE (caller, idempotency_key) IN (
     SELECT kept.caller, kept.idempotency_key FROM idempotency AS kept
      WHERE kept.expires_at_ms <= :now_ms
        AND NOT (kept.state = 'in_progress'
                 AND EXISTS (SELECT 1 FROM owners
                              WHERE owners.owner_id = kept.owner_id AND owners.lease_until_ms >= :now_ms))
      ORDER BY kept.expires_at_ms
      LIMIT :most);
