-- name: events
SELECT seq, id, type, at_ms, facts, acknowledged_at_ms, acknowledged_by
  FROM events
 WHERE seq < :before_seq AND at_ms >= :since_ms AND at_ms < :until_ms
   AND (CAST(:types AS text) IS NULL OR type IN (SELECT jsonb_array_elements_text(CAST(:types AS jsonb))))
   AND (CAST(:acknowledged AS boolean) IS NULL OR (acknowledged_at_ms IS NOT NULL) = :acknowledged)
   AND (CAST(:state AS text) IS NULL
        OR EXISTS (SELECT 1 FROM deliveries WHERE deliveries.event_seq = events.seq AND deliveries.state = :state))
 ORDER BY seq DESC
 LIMIT :most;

-- name: forgettable
SELECT e.seq
  FROM events AS e
 WHERE e.at_ms < :before_ms AND e.type <> 'ledger.drift' AND e.seq < (SELECT MAX(seq) FROM events)
   AND (e.type NOT LIKE 'ceiling.%' OR CAST(e.facts AS jsonb) ->> 'window_ends_at' < :before)
   AND NOT EXISTS (SELECT 1 FROM deliveries WHERE event_seq = e.seq AND state = 'pending')
   AND NOT EXISTS (SELECT 1 FROM deliveries WHERE digest_seq = e.seq)
 ORDER BY e.at_ms
 LIMIT :most;
