-- name: standing
SELECT w.ends_at_ms, w.limit_amount, w.spent_amount, w.held_amount, w.warn_amount, c.scope, c."window", c.counts, k.name,
       c.warn_at, c.active
  FROM ceiling_windows AS w
  JOIN ceilings AS c ON c.ceiling_id = w.ceiling_id
  LEFT JOIN api_keys AS k ON substr(c.scope, 1, 4) = 'key:' AND k.key_id = substr(c.scope, 5)
 WHERE w.ceiling_id = :ceiling_id AND w.starts_at_ms = :starts_at_ms;

-- name: look_out
UPDATE ceiling_windows SET warn_amount = :warn_amount
 WHERE ceiling_id = :ceiling_id AND starts_at_ms = :starts_at_ms AND warn_amount IS DISTINCT FROM :warn_amount;
