-- name: raise_event
-- No row: it was told before.
INSERT INTO events (id, type, dedup_key, at_ms, facts)
VALUES (:id, :type, :dedup_key, :at_ms, :facts)
    ON CONFLICT (dedup_key) DO NOTHING
RETURNING seq;

-- name: acknowledge
-- No row: there is no such event, or somebody has acknowledged it before.
UPDATE events SET acknowledged_at_ms = :now_ms, acknowledged_by = :by
 WHERE id = :event_id AND acknowledged_at_ms IS NULL
RETURNING seq;

-- name: find_event
-- No row: there is no such event.
SELECT seq, acknowledged_at_ms, acknowledged_by FROM events WHERE id = :event_id;

-- name: events
-- A page of events, newest first. types: a JSON list; NULL: all of them.
SELECT seq, id, type, at_ms, facts, acknowledged_at_ms, acknowledged_by
  FROM events
 WHERE seq < :before_seq AND at_ms >= :since_ms AND at_ms < :until_ms
   AND (:types IS NULL OR type IN (SELECT value FROM json_each(:types)))
   AND (:acknowledged IS NULL OR (acknowledged_at_ms IS NOT NULL) = :acknowledged)
   AND (:state IS NULL OR EXISTS (SELECT 1 FROM deliveries
                                   WHERE deliveries.event_seq = events.seq AND deliveries.state = :state))
 ORDER BY seq DESC
 LIMIT :most;

-- name: deliveries_of_event
-- digest: the id of the event that told of it together with others.
SELECT d.target, d.state, d.tries, d.next_at_ms, d.last_at_ms, d.last_status, d.last_error, digest.id
  FROM deliveries AS d
  LEFT JOIN events AS digest ON digest.seq = d.digest_seq
 WHERE d.event_seq = :seq
 ORDER BY d.target;

-- name: forgettable
-- At most :most events before the moment (:before as ISO) that nobody is to be told of any more and that cannot happen
-- again. A ceiling's lines may be crossed again until its window is over. Drift is kept, as is what events still point to.
SELECT e.seq
  FROM events AS e INDEXED BY events_by_time
 WHERE e.at_ms < :before_ms AND e.type <> 'ledger.drift' AND e.seq < (SELECT MAX(seq) FROM events)
   AND (e.type NOT LIKE 'ceiling.%' OR json_extract(e.facts, '$.window_ends_at') < :before)
   AND NOT EXISTS (SELECT 1 FROM deliveries WHERE event_seq = e.seq AND state = 'pending')
   AND NOT EXISTS (SELECT 1 FROM deliveries WHERE digest_seq = e.seq)
 ORDER BY e.at_ms
 LIMIT :most;

-- name: may_be_forgotten
UPDATE events_forgotten SET before_ms = :before_ms WHERE before_ms < :before_ms;

-- name: forget_deliveries
DELETE FROM deliveries WHERE event_seq = :seq;

-- name: forget_event
DELETE FROM events WHERE seq = :seq;
