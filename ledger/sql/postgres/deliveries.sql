-- name: begin_deliveries
INSERT INTO deliveries (event_seq, target, state, tries, next_at_ms)
SELECT events.seq, t.target, 'pending', 0, CAST(:now_ms AS bigint)
  FROM alert_targets AS t
  JOIN events ON events.seq > t.seen_seq
 WHERE t.target = :target AND events.type IN (SELECT jsonb_array_elements_text(CAST(:types AS jsonb)));

-- name: first_due
SELECT 1 FROM deliveries
 WHERE state = 'pending' AND next_at_ms <= :now_ms
   AND target IN (SELECT jsonb_array_elements_text(CAST(:targets AS jsonb)))
 LIMIT 1;
