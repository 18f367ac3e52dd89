-- name: calls_of_late
WITH newest AS (
    SELECT w.ceiling_id, w.starts_at_ms, w.counts, w.spent_amount, w.folded_amount
      FROM ceiling_windows AS w
     WHERE w.counts IN ('calls', 'attempts') AND w.ends_at_ms = w.starts_at_ms + 60000
       AND w.starts_at_ms > (SELECT MAX(taken_at_ms) FROM holds) - 120000
), over AS MATERIALIZED (
    SELECT link.ceiling_id, link.starts_at_ms, COUNT(*) FILTER (WHERE h.attempt = 1) AS calls,
           COUNT(*) FILTER (WHERE h.state <> 'released' OR h.status IS NOT NULL) AS attempts
      FROM holds AS h JOIN hold_windows AS link ON link.hold_id = h.hold_id
     WHERE h.taken_at_ms >= (SELECT MIN(starts_at_ms) FROM newest) AND h.state <> 'held'
     GROUP BY link.ceiling_id, link.starts_at_ms
), found AS (
    SELECT newest.ceiling_id, newest.starts_at_ms, newest.counts, newest.spent_amount, newest.folded_amount,
           COALESCE(CASE newest.counts WHEN 'attempts' THEN over.attempts ELSE over.calls END, 0) AS over_amount
      FROM newest
      LEFT JOIN over ON over.ceiling_id = newest.ceiling_id AND over.starts_at_ms = newest.starts_at_ms)
SELECT ceiling_id, starts_at_ms, counts, spent_amount, folded_amount, over_amount
  FROM found
 WHERE spent_amount <> folded_amount + over_amount;
