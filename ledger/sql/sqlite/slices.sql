-- name: recall_slices
-- What is left of all processes' slices of one window; they are gone then. No row: there are none.
DELETE FROM slices WHERE ceiling_id = :ceiling_id AND starts_at_ms = :starts_at_ms
RETURNING free_amount;

-- name: end_slices
-- All slices of one process, and what is left of them.
DELETE FROM slices WHERE owner_id = :owner_id
RETURNING ceiling_id, starts_at_ms, free_amount;

-- name: sliced
-- How much of what is held in a window is slices. NULL: nothing.
SELECT SUM(free_amount) FROM slices WHERE ceiling_id = :ceiling_id AND starts_at_ms = :starts_at_ms;
