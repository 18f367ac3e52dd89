-- name: find_window
-- What one ceiling has in its current window; joined by UNION ALL for several. No row of it: nothing yet.
SELECT ceiling_id, limit_amount, held_amount, spent_amount
  FROM ceiling_windows
 WHERE ceiling_id = ? AND starts_at_ms = ?;

-- name: open_window
-- A ceiling's window begins with nothing held, and nothing spent but what was folded before there was such a window.
INSERT INTO ceiling_windows (ceiling_id, starts_at_ms, ends_at_ms, counts, limit_amount, excused_amount, held_amount,
                             spent_amount, folded_amount, warn_amount)
VALUES (:ceiling_id, :starts_at_ms, :ends_at_ms, :counts, :limit_amount, :excused_amount, 0, :folded_amount,
        :folded_amount, :warn_amount);

-- name: name_ceiling
-- A ceiling that its template stands for, on its first use. The others are there since they were configured.
INSERT INTO ceilings (ceiling_id, scope, window, counts, limit_amount, active, since_ms, when_tight, of_template, warn_at)
VALUES (:ceiling_id, :scope, :window, :counts, :limit_amount, 1, :now_ms, :when_tight, 1, :warn_at)
    ON CONFLICT (ceiling_id) DO UPDATE
   SET active = 1, since_ms = CASE active WHEN 1 THEN since_ms ELSE excluded.since_ms END;

-- name: open_holds_under
-- What open holds hold under one ceiling in dollars or tokens, the oldest first.
SELECT CASE :counts WHEN 'tokens' THEN holds.held_tokens ELSE holds.held_nanousd END AS held, holds.taken_at_ms,
       holds.deployment
  FROM holds INDEXED BY open_holds
 WHERE holds.state = 'held'
   AND held > 0
   AND EXISTS (SELECT 1 FROM hold_windows
                WHERE hold_windows.hold_id = holds.hold_id
                  AND hold_windows.ceiling_id = :ceiling_id
                  AND hold_windows.starts_at_ms = :starts_at_ms)
 ORDER BY holds.taken_at_ms
 LIMIT 1000;

-- name: usual_latency
-- What a call at a deployment took since this hour, on average, in milliseconds. NULL: none was made.
SELECT SUM(sum_us) / SUM(count) / 1000
  FROM latency_buckets
 WHERE deployment = :deployment AND hour_ms >= :since_ms AND kind = 'total';
