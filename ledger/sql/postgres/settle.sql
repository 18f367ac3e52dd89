-- name: close_hold
-- held -> :new_state, once. No row: somebody closed it first.
UPDATE holds
   SET state = :new_state, closed_at_ms = :closed_at_ms, outcome = :outcome, status = :status,
       latency_us = :latency_us, ttft_us = :ttft_us, error = :error, hedge = :hedge,
       queued_us = CASE WHEN CAST(:begun_at_us AS bigint) IS NOT NULL
                   THEN GREATEST(0, :begun_at_us - taken_at_ms * 1000) END
 WHERE hold_id = :hold_id AND state = 'held'
RETURNING held_nanousd, held_tokens, attempt, deployment, taken_at_ms, hold_id;
