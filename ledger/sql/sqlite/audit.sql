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

-- name: tell_event
-- No row: it was told before.
INSERT INTO events (type, subject, at_ms, facts)
VALUES (:type, :subject, :now_ms, :facts)
    ON CONFLICT (type, subject) DO NOTHING
RETURNING event_id;

-- name: note_queue_depth
UPDATE owners SET queue_depth = :queue_depth WHERE owner_id = :owner_id AND queue_depth <> :queue_depth;

-- name: figures
-- How the audit stands, and how many writes wait in the other processes whose leases run.
SELECT audit.seq, audit.took_us,
       (SELECT COUNT(*) FROM events WHERE type = 'ledger.drift'),
       (SELECT COALESCE(SUM(queue_depth), 0) FROM owners WHERE owner_id <> :owner_id AND lease_until_ms >= :now_ms)
  FROM audit;
