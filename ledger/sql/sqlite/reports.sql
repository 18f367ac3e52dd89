-- name: generation
-- One call as it is on record. No row: there is none of this id.
SELECT generation_id, created_at_ms, route, stream, trace_id, key_id, team, user_id, workflow, run, tags, cache, served_by,
       deployment, outcome, cost_basis, saved_nanousd, estimated_prompt_tokens, finished_at_ms, latency_us, ttft_us,
       error_code
  FROM generations
 WHERE generation_id = :generation_id;

-- name: attempts_of_generation
SELECT hold_id, attempt, deployment, state, held_nanousd, price_version, outcome, status, latency_us, ttft_us, error,
       taken_at_ms, closed_at_ms, owner_id
  FROM holds
 WHERE generation_id = :generation_id
 ORDER BY attempt;

-- name: postings_of_generation
SELECT postings.seq, postings.hold_id, postings.kind, postings.cost_nanousd, postings.cost_basis,
       postings.overrun_nanousd, postings.input_tokens, postings.cached_tokens, postings.cache_write_tokens,
       postings.output_tokens, postings.reasoning_tokens, postings.price_version, postings.posted_at_ms, postings.reason
  FROM postings
  JOIN holds USING (hold_id)
 WHERE holds.generation_id = :generation_id
 ORDER BY postings.seq;

-- name: whole_hours
-- Counts of whole hours in [:since_ms, :until_ms), both full hours.
SELECT deployment, kind, hour_ms, bucket, count, sum_us, max_us
  FROM latency_buckets
 WHERE hour_ms >= :since_ms AND hour_ms < :until_ms;

-- name: single_attempts
-- The attempts of a part of an hour, one by one.
SELECT deployment, taken_at_ms, outcome, latency_us, ttft_us
  FROM holds
 WHERE taken_at_ms >= :since_ms AND taken_at_ms < :until_ms AND outcome IS NOT NULL AND outcome NOT IN ('aborted', 'lost');

-- name: refusals
SELECT hour_ms, route, code, count
  FROM refusals
 WHERE hour_ms >= :since_ms AND hour_ms < :until_ms;
