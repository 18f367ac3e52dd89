-- name: charged
-- At most :most attempts that were charged and taken in [:since_ms, :until_ms), after a place in their order, which is by
-- the moment and id of their holds. Token counts NULL: no line knows them. basis and price: of the newest line.
SELECT h.hold_id, h.deployment, h.taken_at_ms, h.held_nanousd,
       (SELECT SUM(cost_nanousd) FROM lines_of_holds WHERE lines_of_holds.hold_id = h.hold_id),
       newest.cost_basis, newest.price_version,
       (SELECT SUM(input_tokens) FROM lines_of_holds WHERE lines_of_holds.hold_id = h.hold_id),
       (SELECT SUM(cached_tokens) FROM lines_of_holds WHERE lines_of_holds.hold_id = h.hold_id),
       (SELECT SUM(cache_write_tokens) FROM lines_of_holds WHERE lines_of_holds.hold_id = h.hold_id),
       (SELECT SUM(output_tokens) FROM lines_of_holds WHERE lines_of_holds.hold_id = h.hold_id),
       (SELECT SUM(reasoning_tokens) FROM lines_of_holds WHERE lines_of_holds.hold_id = h.hold_id)
  FROM holds AS h
  JOIN postings AS newest
    ON newest.seq = (SELECT MAX(seq) FROM lines_of_holds WHERE lines_of_holds.hold_id = h.hold_id)
 WHERE h.taken_at_ms >= :since_ms AND h.taken_at_ms < :until_ms
   AND (h.taken_at_ms, h.hold_id) > (:after_ms, :after_id)
 ORDER BY h.taken_at_ms, h.hold_id
 LIMIT :most;

-- name: charged_one
-- One attempt, charged or not, and its state. No row: there is no such hold.
SELECT h.hold_id, h.deployment, h.taken_at_ms, h.held_nanousd,
       COALESCE((SELECT SUM(cost_nanousd) FROM lines_of_holds WHERE lines_of_holds.hold_id = h.hold_id), 0),
       COALESCE(newest.cost_basis, 'free'), COALESCE(newest.price_version, h.price_version),
       (SELECT SUM(input_tokens) FROM lines_of_holds WHERE lines_of_holds.hold_id = h.hold_id),
       (SELECT SUM(cached_tokens) FROM lines_of_holds WHERE lines_of_holds.hold_id = h.hold_id),
       (SELECT SUM(cache_write_tokens) FROM lines_of_holds WHERE lines_of_holds.hold_id = h.hold_id),
       (SELECT SUM(output_tokens) FROM lines_of_holds WHERE lines_of_holds.hold_id = h.hold_id),
       (SELECT SUM(reasoning_tokens) FROM lines_of_holds WHERE lines_of_holds.hold_id = h.hold_id),
       h.state
  FROM holds AS h
  LEFT JOIN postings AS newest
    ON newest.seq = (SELECT MAX(seq) FROM lines_of_holds WHERE lines_of_holds.hold_id = h.hold_id)
 WHERE h.hold_id = :hold_id;

-- name: holds_of
-- The attempts of a call. No row: there is no such call, or none of it was sent.
SELECT hold_id, deployment, state, outcome FROM holds WHERE generation_id = :generation_id ORDER BY attempt;
