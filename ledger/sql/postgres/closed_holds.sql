-- name: windows_of_holds
-- Each hold is asked for by itself, as in `admit.sql`.
SELECT link.hold_id, w.ceiling_id, w.starts_at_ms, w.counts, w.spent_amount, w.warn_amount
  FROM hold_windows AS link
  JOIN ceiling_windows AS w ON w.ceiling_id = link.ceiling_id AND w.starts_at_ms = link.starts_at_ms
 WHERE link.hold_id = :hold_id;
