-- name: take_duty
-- No row: another process has it, and its lease runs.
INSERT INTO duties (duty, owner_id)
SELECT :duty, :owner_id
 WHERE EXISTS (SELECT 1 FROM owners WHERE owner_id = :owner_id AND lease_until_ms >= :now_ms)
    ON CONFLICT (duty) DO UPDATE SET owner_id = excluded.owner_id
 WHERE duties.owner_id = excluded.owner_id
    OR NOT EXISTS (SELECT 1 FROM owners WHERE owners.owner_id = duties.owner_id AND owners.lease_until_ms >= :now_ms)
RETURNING owner_id;

-- name: who_has_duty
-- No row: nobody whose lease runs.
SELECT duties.owner_id FROM duties JOIN owners USING (owner_id)
 WHERE duties.duty = :duty AND owners.lease_until_ms >= :now_ms;

-- name: meet_target
-- At its first sight a target has seen all that was before.
INSERT INTO alert_targets (target, seen_seq)
VALUES (:target, (SELECT COALESCE(MAX(seq), 0) FROM events))
    ON CONFLICT (target) DO NOTHING;

-- name: unseen
-- The newest event, where a target has not seen it. NULL: it has; no row: it was never met.
SELECT (SELECT MAX(seq) FROM events WHERE seq > t.seen_seq) FROM alert_targets AS t WHERE t.target = :target;

-- name: begin_deliveries
-- One for each event that a target has not seen, of these types (a JSON list).
INSERT INTO deliveries (event_seq, target, state, tries, next_at_ms)
SELECT events.seq, t.target, 'pending', 0, :now_ms
  FROM alert_targets AS t
  JOIN events ON events.seq > t.seen_seq
 WHERE t.target = :target AND events.type IN (SELECT value FROM json_each(:types));

-- name: see_all
UPDATE alert_targets SET seen_seq = (SELECT COALESCE(MAX(seq), 0) FROM events)
 WHERE target = :target AND seen_seq < (SELECT COALESCE(MAX(seq), 0) FROM events);

-- name: first_due
-- No row: nothing is due at any of these targets (a JSON list).
SELECT 1 FROM deliveries
 WHERE state = 'pending' AND next_at_ms <= :now_ms AND target IN (SELECT value FROM json_each(:targets))
 LIMIT 1;

-- name: due
-- What is to be tried now at one target, the oldest event first.
SELECT d.tries, e.seq, e.id, e.type, e.at_ms, e.facts, e.acknowledged_at_ms, e.acknowledged_by
  FROM deliveries AS d
  JOIN events AS e ON e.seq = d.event_seq
 WHERE d.state = 'pending' AND d.next_at_ms <= :now_ms AND d.target = :target
 ORDER BY e.seq
 LIMIT :most;

-- name: record_try
-- pending -> :state. No row: it ended before, or was never begun.
UPDATE deliveries
   SET state = :state, tries = tries + 1, next_at_ms = :next_at_ms, last_at_ms = :at_ms, last_status = :status,
       last_error = :error
 WHERE event_seq = (SELECT seq FROM events WHERE id = :event_id) AND target = :target AND state = 'pending'
RETURNING event_seq;

-- name: begin_digest
-- The digest goes to the target that it was made for, and to no other. Repeating it changes nothing.
INSERT INTO deliveries (event_seq, target, state, tries, next_at_ms)
SELECT seq, :target, 'pending', 0, :now_ms FROM events WHERE id = :digest_id
    ON CONFLICT (event_seq, target) DO NOTHING;

-- name: fold
-- pending -> delivered, by way of a digest. No row: it ended before.
UPDATE deliveries
   SET state = 'delivered', next_at_ms = NULL, last_at_ms = :now_ms,
       digest_seq = (SELECT seq FROM events WHERE id = :digest_id)
 WHERE event_seq = (SELECT seq FROM events WHERE id = :event_id) AND target = :target AND state = 'pending'
RETURNING event_seq;

-- name: retry
-- dead -> pending. target NULL: at each one where it is dead.
UPDATE deliveries SET state = 'pending', next_at_ms = :now_ms
 WHERE event_seq = (SELECT seq FROM events WHERE id = :event_id) AND state = 'dead'
   AND (CAST(:target AS TEXT) IS NULL OR target = :target)
RETURNING target;
