-- name: claim_look
-- The turn to look, once in :every_ms for all processes on the file. No row: another process looks, or has looked just
-- now. A moment further ahead than that was written under another clock.
UPDATE audit SET next_look_at_ms = :now_ms + :every_ms
 WHERE id = 1 AND (next_look_at_ms <= :now_ms OR next_look_at_ms > :now_ms + :every_ms)
RETURNING seq, chain;

-- name: record_look
-- How far a look that began after line :from_seq has come.
UPDATE audit SET seq = :seq, chain = :chain, looked_at_ms = :now_ms, took_us = :took_us
 WHERE id = 1 AND seq = :from_seq;

-- name: calls_of_late
-- Windows of a minute that count calls, the newest two, where they are not the calls that are over: what verify's
-- "invariant 2: spent is the number of calls that are over" says, of as few holds as can be looked at every minute.
WITH newest AS (
    SELECT w.ceiling_id, w.starts_at_ms, w.counts, w.spent_amount, w.folded_amount
      FROM ceiling_windows AS w
     WHERE w.counts IN ('calls', 'attempts') AND w.ends_at_ms = w.starts_at_ms + 60000
       AND w.starts_at_ms > (SELECT MAX(taken_at_ms) FROM holds) - 120000
), over AS MATERIALIZED (
    SELECT link.ceiling_id, link.starts_at_ms, SUM(h.attempt = 1) AS calls,
           SUM(h.state <> 'released' OR h.status IS NOT NULL) AS attempts
      FROM holds AS h INDEXED BY holds_by_time CROSS JOIN hold_windows AS link ON link.hold_id = h.hold_id
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

-- name: note_queue_depth
UPDATE owners SET queue_depth = :queue_depth WHERE owner_id = :owner_id AND queue_depth <> :queue_depth;

-- name: figures
-- How the audit stands, how many writes wait in the other processes whose leases run, and how many alerts are to be
-- delivered, and never were.
SELECT audit.seq, audit.took_us,
       (SELECT COUNT(*) FROM events WHERE type = 'ledger.drift'),
       (SELECT COALESCE(SUM(queue_depth), 0) FROM owners WHERE owner_id <> :owner_id AND lease_until_ms >= :now_ms),
       (SELECT COUNT(*) FROM deliveries WHERE state = 'pending'),
       (SELECT COUNT(*) FROM deliveries WHERE state = 'dead')
  FROM audit;
