-- name: postpone_sums
-- What this transaction spends by name from here on is added up by add_up, without which it cannot be committed.
INSERT INTO postponing (id) VALUES (1) ON CONFLICT DO NOTHING;

-- name: add_up
DELETE FROM postponing;
