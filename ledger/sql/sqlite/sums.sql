-- name: sums_of_lines
-- What the lines in (:after_seq, :through_seq] come to in each window that counts their money or tokens, and in each hour
-- (no ceiling). Calls are no lines: one that cost nothing is a call too.
SELECT link.ceiling_id, link.starts_at_ms, SUM(CASE w.counts WHEN 'tokens' THEN p.tokens ELSE p.cost_nanousd END)
  FROM postings AS p
  JOIN hold_windows AS link ON link.hold_id = p.hold_id
  JOIN ceiling_windows AS w ON w.ceiling_id = link.ceiling_id AND w.starts_at_ms = link.starts_at_ms
 WHERE p.seq > :after_seq AND p.seq <= :through_seq AND w.counts IN ('nanousd', 'tokens')
 GROUP BY link.ceiling_id, link.starts_at_ms
 UNION ALL
SELECT '', h.taken_at_ms - h.taken_at_ms % 3600000 AS hour_ms, SUM(p.cost_nanousd)
  FROM postings AS p
  JOIN holds AS h ON h.hold_id = p.hold_id
 WHERE p.seq > :after_seq AND p.seq <= :through_seq
 GROUP BY hour_ms;

-- name: followed_sums
-- Those that stand after line :seq, unless a ceiling was configured since.
SELECT ceiling_id, starts_at_ms, amount
  FROM followed_sums
 WHERE ceilings_epoch = (SELECT epoch FROM ceilings_epoch) AND seq = :seq;

-- name: sum_of_window
-- No row: there is no such window.
SELECT spent_amount FROM ceiling_windows WHERE ceiling_id = :ceiling_id AND starts_at_ms = :starts_at_ms;

-- name: sum_of_hour
SELECT COALESCE(SUM(cost_nanousd), 0) FROM spend_hours WHERE hour_ms = :starts_at_ms;

-- name: newest_window
-- NULL: the ceiling has none.
SELECT MAX(starts_at_ms) FROM ceiling_windows WHERE ceiling_id = :ceiling_id;

-- name: newest_hour
SELECT MAX(hour_ms) FROM spend_hours;

-- name: epoch
SELECT epoch FROM ceilings_epoch;

-- name: forget_sums
DELETE FROM followed_sums;

-- name: follow_sum
INSERT INTO followed_sums (ceiling_id, starts_at_ms, amount, ceilings_epoch, seq)
VALUES (:ceiling_id, :starts_at_ms, :amount, :ceilings_epoch, :seq);
