-- name: standing
-- A ceiling in one of its windows, with the name of the key that it is of, if it is of one. No row: there is no such
-- window.
SELECT w.ends_at_ms, w.limit_amount, w.spent_amount, w.held_amount, w.warn_amount, c.scope, c.window, c.counts, k.name,
       c.warn_at, c.active
  FROM ceiling_windows AS w
  JOIN ceilings AS c ON c.ceiling_id = w.ceiling_id
  LEFT JOIN api_keys AS k ON substr(c.scope, 1, 4) = 'key:' AND k.key_id = substr(c.scope, 5)
 WHERE w.ceiling_id = :ceiling_id AND w.starts_at_ms = :starts_at_ms;

-- name: open_limits
-- The windows that are not over, and their limits.
SELECT starts_at_ms, limit_amount FROM ceiling_windows
 WHERE ceiling_id = :ceiling_id AND (ends_at_ms IS NULL OR ends_at_ms > :now_ms)
 ORDER BY starts_at_ms;

-- name: look_out
UPDATE ceiling_windows SET warn_amount = :warn_amount
 WHERE ceiling_id = :ceiling_id AND starts_at_ms = :starts_at_ms AND warn_amount IS NOT :warn_amount;
