-- name: expiry
-- Until when the answer that this generation stored may be served. No row: it is gone, or another one is in its place.
SELECT expires_at_ms FROM responses WHERE cache_key = :cache_key AND generation_id = :answer_of;
