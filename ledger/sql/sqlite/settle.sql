-- name: close_hold
-- held -> :new_state, once. No row: somebody closed it first.
UPDATE holds
   SET state = :new_state, closed_at_ms = :closed_at_ms, outcome = :outcome, status = :status,
       latency_us = :latency_us, ttft_us = :ttft_us, error = :error, hedge = :hedge,
       queued_us = MAX(0, :begun_at_us - taken_at_ms * 1000)
 WHERE hold_id = :hold_id AND state = 'held'
RETURNING held_nanousd, held_tokens, attempt, deployment, taken_at_ms, hold_id;

-- name: find_closed_hold
-- How a hold stands and what it was closed with. charged NULL: nothing was posted. No row: no such hold.
SELECT holds.state, holds.outcome, holds.held_tokens,
       (SELECT cost_nanousd FROM postings WHERE postings.hold_id = :hold_id AND kind <> 'correction'),
       (SELECT MAX(1) FROM postings WHERE postings.hold_id = :hold_id AND kind = 'correction')
  FROM holds
 WHERE holds.hold_id = :hold_id;

-- name: end_generation
-- Say how a generation ended. A lost one whose owner was only late is told again.
UPDATE generations
   SET outcome = :outcome, deployment = :deployment, cost_basis = :cost_basis, finished_at_ms = :finished_at_ms,
       latency_us = :latency_us, ttft_us = :ttft_us, estimated_prompt_tokens = :estimated_prompt_tokens,
       error_code = :error_code
 WHERE generation_id = :generation_id AND (outcome IS NULL OR outcome = 'lost');

-- name: end_flight
-- No row: another generation has taken the lead since.
DELETE FROM flights WHERE cache_key = :cache_key AND generation_id = :generation_id
RETURNING generation_id;

-- What settlements of a batch look at, for all of them at once: `asked` has a row for each, as in `admit.sql`.

-- name: open_holds
-- What `close_hold` will say of these.
SELECT h.held_nanousd, h.held_tokens, h.attempt, h.deployment, h.taken_at_ms, h.hold_id
  FROM asked
 CROSS JOIN holds AS h
 WHERE h.hold_id = asked.hold_id AND h.state = 'held';

-- name: flights_led
-- What `end_flight` will say of these.
SELECT f.generation_id
  FROM asked
 CROSS JOIN flights AS f
 WHERE f.cache_key = asked.cache_key AND f.generation_id = asked.generation_id;
