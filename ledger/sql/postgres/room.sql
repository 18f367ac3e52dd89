-- name: name_ceiling
INSERT INTO ceilings AS kept (ceiling_id, scope, "window", counts, limit_amount, active, since_ms, when_tight, of_template,
                              warn_at)
VALUES (:ceiling_id, :scope, :window, :counts, :limit_amount, 1, :now_ms, :when_tight, 1, :warn_at)
    ON CONFLICT (ceiling_id) DO UPDATE
   SET active = 1, since_ms = CASE kept.active WHEN 1 THEN kept.since_ms ELSE excluded.since_ms END;

-- name: open_holds_under
SELECT open.held, open.taken_at_ms, open.deployment
  FROM (SELECT CASE :counts WHEN 'tokens' THEN holds.held_tokens ELSE holds.held_nanousd END AS held, holds.taken_at_ms,
               holds.deployment
          FROM holds
          JOIN hold_windows AS link ON link.hold_id = holds.hold_id
         WHERE holds.state = 'held' AND link.ceiling_id = :ceiling_id AND link.starts_at_ms = :starts_at_ms) AS open
 WHERE open.held > 0
 ORDER BY open.taken_at_ms
 LIMIT 1000;

-- name: usual_latency
SELECT CAST(div(div(SUM(sum_us), SUM(count)), 1000) AS bigint)
  FROM latency_buckets
 WHERE deployment = :deployment AND hour_ms >= :since_ms AND kind = 'total';
