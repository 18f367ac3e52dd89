-- name: create_key
INSERT INTO api_keys (key_id, digest, pepper_id, name, team, role, created_at_ms, expires_at_ms)
VALUES (:key_id, :digest, :pepper_id, :name, :team, :role, :created_at_ms, :expires_at_ms);

-- name: limit_key
INSERT INTO api_key_ceilings (key_id, "window", counts, limit_amount) VALUES (:key_id, :window, :counts, :limit_amount);

-- name: allow_route
INSERT INTO api_key_routes (key_id, route) VALUES (:key_id, :route);

-- name: find_key
-- No row: there never was such a key.
SELECT key_id, digest, pepper_id, name, team, role, created_at_ms, expires_at_ms, revoked_at_ms
  FROM api_keys
 WHERE key_id = :key_id;

-- name: all_keys
-- The oldest first.
SELECT key_id, digest, pepper_id, name, team, role, created_at_ms, expires_at_ms, revoked_at_ms
  FROM api_keys
 ORDER BY created_at_ms, key_id;

-- name: routes_of_key
SELECT route FROM api_key_routes WHERE key_id = :key_id ORDER BY route;

-- name: ceilings_of_key
-- By window, dollars before tokens before calls.
SELECT key_id, "window", counts, limit_amount FROM api_key_ceilings WHERE key_id = :key_id
 ORDER BY "window", counts = 'nanousd' DESC, counts DESC;

-- name: is_in_force
-- No row: the key was revoked, has expired, or never was.
SELECT 1 FROM api_keys
 WHERE key_id = :key_id AND revoked_at_ms IS NULL AND (expires_at_ms IS NULL OR expires_at_ms > :now_ms);

-- name: other_pepper
-- A key in force that was made under another pepper. No row: there is none.
SELECT key_id FROM api_keys
 WHERE pepper_id <> :pepper_id AND revoked_at_ms IS NULL AND (expires_at_ms IS NULL OR expires_at_ms > :now_ms)
 LIMIT 1;

-- name: ceilings_in_force
-- The ceilings of all keys in force.
SELECT key_id, "window", counts, limit_amount
  FROM api_key_ceilings
  JOIN api_keys USING (key_id)
 WHERE revoked_at_ms IS NULL AND (expires_at_ms IS NULL OR expires_at_ms > :now_ms);

-- name: revoke_key
-- in force or expired -> revoked, once: a repeat changes nothing.
UPDATE api_keys SET revoked_at_ms = :now_ms WHERE key_id = :key_id AND revoked_at_ms IS NULL;
