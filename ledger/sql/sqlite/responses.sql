-- name: stored_totals
-- How much is stored, and how much of it under this key. NULL: nothing.
SELECT entries, bytes, (SELECT length(body) + elsewhere_bytes FROM responses WHERE cache_key = :cache_key)
  FROM response_totals;

-- name: stored_totals_each
-- As `stored_totals`, for each key in `asked`, as in `admit.sql`.
SELECT entries, bytes, (SELECT length(body) + elsewhere_bytes FROM responses WHERE cache_key = asked.cache_key)
  FROM asked
 CROSS JOIN response_totals;

-- name: soonest_to_expire
-- The entry that its room is taken from first.
SELECT cache_key, length(body) + elsewhere_bytes FROM responses ORDER BY expires_at_ms LIMIT 1;

-- name: drop_response
DELETE FROM responses WHERE cache_key = :cache_key;

-- name: store_response
INSERT INTO responses (cache_key, generation_id, deployment, cost_nanousd, cost_basis, stored_at_ms, expires_at_ms, body,
                       checksum, elsewhere_bytes)
VALUES (:cache_key, :generation_id, :deployment, :cost_nanousd, :cost_basis, :stored_at_ms, :expires_at_ms, :body,
        :checksum, :elsewhere_bytes);

-- name: drop_expired
-- At most :most entries, so that no transaction takes long.
DELETE FROM responses
 WHERE cache_key IN (SELECT cache_key FROM responses WHERE expires_at_ms <= :now_ms ORDER BY expires_at_ms LIMIT :most);
