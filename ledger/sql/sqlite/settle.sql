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

-- name: windows_of_hold
-- Every window that a hold took room in, what it counts, and from which amount spent on there is something to tell.
SELECT w.ceiling_id, w.starts_at_ms, w.counts, w.spent_amount, w.warn_amount
  FROM hold_windows AS link
  JOIN ceiling_windows AS w ON w.ceiling_id = link.ceiling_id AND w.starts_at_ms = link.starts_at_ms
 WHERE link.hold_id = :hold_id;

-- name: move_room
-- In one window that a hold took room in: give its room back and add what it came to, or a correction's difference.
UPDATE ceiling_windows
   SET held_amount = held_amount - :given_back, spent_amount = spent_amount + :came_to
 WHERE ceiling_id = :ceiling_id AND starts_at_ms = :starts_at_ms;

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

-- name: share_failure
-- For whoever waits in another process. No row: no other is alive, or it was done before.
INSERT INTO failed_flights (generation_id, failure, until_ms)
SELECT :generation_id, :failure, :until_ms
 WHERE (SELECT COUNT(*) FROM owners WHERE lease_until_ms >= :now_ms) > 1
    ON CONFLICT (generation_id) DO NOTHING
RETURNING failure_id;

-- name: forget_failures_before
DELETE FROM failed_flights WHERE failure_id <= :failure_id;

-- name: forget_failures
DELETE FROM failed_flights WHERE until_ms <= :now_ms;

-- name: find_failure
-- No row: the flight that this generation led did not fail, or long ago, or for a reason of its leader's own.
SELECT failure FROM failed_flights WHERE generation_id = :generation_id AND until_ms > :now_ms;

-- name: drop_response
DELETE FROM responses WHERE cache_key = :cache_key;

-- name: store_response
INSERT INTO responses (cache_key, generation_id, deployment, cost_nanousd, cost_basis, stored_at_ms, expires_at_ms, body,
                       checksum, elsewhere_bytes)
VALUES (:cache_key, :generation_id, :deployment, :cost_nanousd, :cost_basis, :stored_at_ms, :expires_at_ms, :body,
        :checksum, :elsewhere_bytes);

-- name: stored_totals
-- How much is stored, and how much of it under this key. NULL: nothing.
SELECT entries, bytes, (SELECT length(body) + elsewhere_bytes FROM responses WHERE cache_key = :cache_key)
  FROM response_totals;

-- name: soonest_to_expire
-- The entry that its room is taken from first.
SELECT cache_key, length(body) + elsewhere_bytes FROM responses ORDER BY expires_at_ms LIMIT 1;

-- name: drop_expired
-- At most :most entries, so that no transaction takes long.
DELETE FROM responses
 WHERE cache_key IN (SELECT cache_key FROM responses WHERE expires_at_ms <= :now_ms ORDER BY expires_at_ms LIMIT :most);

-- name: count_latency
INSERT INTO latency_buckets (deployment, kind, hour_ms, bucket, count, sum_us, max_us)
VALUES (:deployment, :kind, :hour_ms, :bucket, :count, :sum_us, :max_us)
    ON CONFLICT (deployment, hour_ms, kind, bucket) DO UPDATE
   SET count = count + excluded.count, sum_us = sum_us + excluded.sum_us, max_us = MAX(max_us, excluded.max_us);

-- What the settlements of a batch look at, for all of them at once: `asked` has a row for each, as in `admit.sql`.

-- name: open_holds
-- What `close_hold` will say of these.
SELECT h.held_nanousd, h.held_tokens, h.attempt, h.deployment, h.taken_at_ms, h.hold_id
  FROM asked
 CROSS JOIN holds AS h
 WHERE h.hold_id = asked.hold_id AND h.state = 'held';

-- name: windows_of_holds
-- As `windows_of_hold`, each with its hold.
SELECT link.hold_id, w.ceiling_id, w.starts_at_ms, w.counts, w.spent_amount, w.warn_amount
  FROM asked
 CROSS JOIN hold_windows AS link
 CROSS JOIN ceiling_windows AS w
 WHERE link.hold_id = asked.hold_id AND w.ceiling_id = link.ceiling_id AND w.starts_at_ms = link.starts_at_ms;

-- name: flights_led
-- What `end_flight` will say of these.
SELECT f.generation_id
  FROM asked
 CROSS JOIN flights AS f
 WHERE f.cache_key = asked.cache_key AND f.generation_id = asked.generation_id;

-- name: stored_totals_each
-- As `stored_totals`, for each of these keys.
SELECT entries, bytes, (SELECT length(body) + elsewhere_bytes FROM responses WHERE cache_key = asked.cache_key)
  FROM asked
 CROSS JOIN response_totals;
