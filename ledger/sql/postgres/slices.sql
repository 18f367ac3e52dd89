-- name: take_slice
-- More room for a process's slice of a window, or its first.
INSERT INTO slices AS kept (ceiling_id, starts_at_ms, owner_id, free_amount)
VALUES (:ceiling_id, :starts_at_ms, :owner_id, :amount)
    ON CONFLICT (ceiling_id, starts_at_ms, owner_id) DO UPDATE SET free_amount = kept.free_amount + excluded.free_amount;

-- name: end_slice
DELETE FROM slices WHERE ceiling_id = :ceiling_id AND starts_at_ms = :starts_at_ms AND owner_id = :owner_id
RETURNING free_amount;

-- name: slices_of_owner
-- Nobody recalls them until this transaction is over.
SELECT ceiling_id, starts_at_ms, free_amount FROM slices WHERE owner_id = :owner_id ORDER BY ceiling_id, starts_at_ms
   FOR UPDATE;

-- name: spend_slice
-- Before the holds that it becomes are taken, in their transaction.
UPDATE slices SET free_amount = free_amount - :amount
 WHERE ceiling_id = :ceiling_id AND starts_at_ms = :starts_at_ms AND owner_id = :owner_id;

-- name: ceilings_stay
-- The ceilings in force, which nobody changes until this transaction is over.
SELECT epoch FROM ceilings_epoch WHERE id = 1 FOR SHARE;

-- name: owner_stays
-- No row: its lease is over. Else nobody ends it until this transaction is over, which `wait_for_owner` waits for.
SELECT owner_id FROM owners WHERE owner_id = :owner_id AND lease_until_ms >= :now_ms FOR SHARE;

-- name: key_stays
-- As `key_in_force`; and nobody revokes it until this transaction is over.
SELECT key_id, COALESCE(expires_at_ms, 9223372036854775807) FROM api_keys
 WHERE key_id = :key_id AND revoked_at_ms IS NULL
   FOR SHARE;

-- name: lead_new_flight
-- No row: somebody leads it, dead or alive.
INSERT INTO flights (cache_key, generation_id, owner_id, epoch)
VALUES (:cache_key, :generation_id, :owner_id, 1)
    ON CONFLICT (cache_key) DO NOTHING
RETURNING generation_id;

-- name: wait_for_owner
-- Until no transaction takes holds in its name.
SELECT owner_id FROM owners WHERE owner_id = :owner_id FOR UPDATE;
