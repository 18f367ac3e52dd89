-- name: stored_totals_each
-- Each key is asked for by itself, as in `admit.sql`.
SELECT entries, bytes, (SELECT length(body) + elsewhere_bytes FROM responses WHERE cache_key = :cache_key)
  FROM response_totals;
