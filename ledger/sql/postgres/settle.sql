-- name: close_hold
-- held -> :new_state, once. No row: somebody closed it first.
UPDATE holds
   SET state = :new_state, closed_at_ms = :closed_at_ms, outcome = :outcome, status = :status,
       latency_us = :latency_us, ttft_us = :ttft_us, error = :error, hedge = :hedge,
       queued_us = CASE WHEN CAST(:begun_at_us AS bigint) IS NOT NULL
                   THEN GREATEST(0, :begun_at_us - taken_at_ms * 1000) END
 WHERE hold_id = :hold_id AND state = 'held'
RETURNING held_nanousd, held_tokens, attempt, deployment, taken_at_ms, hold_id;

-- name: count_latency
INSERT INTO latency_buckets AS kept (deployment, kind, hour_ms, bucket, count, sum_us, max_us)
VALUES (:deployment, :kind, :hour_ms, :bucket, :count, :sum_us, :max_us)
    ON CONFLICT (deployment, hour_ms, kind, bucket) DO UPDATE
   SET count = kept.count + excluded.count, sum_us = kept.sum_us + excluded.sum_us, max_us = GREATEST(kept.max_us, excluded.max_us);

-- What the settlements of a batch look at, each asked for by one key, as in `admit.sql`.

-- name: windows_of_holds
SELECT link.hold_id, w.ceiling_id, w.starts_at_ms, w.counts, w.spent_amount, w.warn_amount
  FROM hold_windows AS link
  JOIN ceiling_windows AS w ON w.ceiling_id = link.ceiling_id AND w.starts_at_ms = link.starts_at_ms
 WHERE link.hold_id = :hold_id;

-- name: stored_totals_each
SELECT entries, bytes, (SELECT length(body) + elsewhere_bytes FROM responses WHERE cache_key = :cache_key)
  FROM response_totals;
