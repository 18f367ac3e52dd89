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
