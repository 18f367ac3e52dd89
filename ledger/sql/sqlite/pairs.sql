-- What users and workflows spent together is added up afterwards, a few calls at a time. See ledger/operations/pairs.py.

-- name: next_part
-- Up to where calls are added up; the moments of the first call and the first attempt from there on (NULL: there is none);
-- and those of the ones that come after :most others.
SELECT kept.until_ms,
       (SELECT MIN(created_at_ms) FROM generations WHERE created_at_ms >= kept.until_ms),
       (SELECT MIN(taken_at_ms) FROM holds WHERE taken_at_ms >= kept.until_ms),
       (SELECT created_at_ms FROM generations WHERE created_at_ms >= kept.until_ms
         ORDER BY created_at_ms LIMIT 1 OFFSET :most),
       (SELECT taken_at_ms FROM holds WHERE taken_at_ms >= kept.until_ms
         ORDER BY taken_at_ms LIMIT 1 OFFSET :most)
  FROM pairs_added_up AS kept;

-- name: add_up
-- What is closed in [:since_ms, :until_ms).
INSERT INTO spend_days_by_pair (period_ms, user_id, workflow, deployment, route, key_id, team, basis, outcome, day_ms,
                                cost_nanousd, saved_nanousd, generations, attempts, cache_hits, coalesced, prompt_tokens,
                                completion_tokens, cached_tokens, reasoning_tokens)
SELECT at_ms - at_ms % 864000000, user_id, workflow, deployment, route, key_id, team, basis, outcome,
       at_ms - at_ms % 86400000, SUM(cost_nanousd), SUM(saved_nanousd), SUM(generations), SUM(attempts), SUM(cache_hits),
       SUM(coalesced), SUM(prompt_tokens), SUM(completion_tokens), SUM(cached_tokens), SUM(reasoning_tokens)
  FROM closed_spend
 WHERE at_ms >= :since_ms AND at_ms < :until_ms
 GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9, 10
    ON CONFLICT (period_ms, user_id, workflow, deployment, route, key_id, team, basis, outcome, day_ms) DO UPDATE
   SET cost_nanousd = cost_nanousd + excluded.cost_nanousd, saved_nanousd = saved_nanousd + excluded.saved_nanousd,
       generations = generations + excluded.generations, attempts = attempts + excluded.attempts,
       cache_hits = cache_hits + excluded.cache_hits, coalesced = coalesced + excluded.coalesced,
       prompt_tokens = prompt_tokens + excluded.prompt_tokens,
       completion_tokens = completion_tokens + excluded.completion_tokens,
       cached_tokens = cached_tokens + excluded.cached_tokens,
       reasoning_tokens = reasoning_tokens + excluded.reasoning_tokens;

-- name: move_on
UPDATE pairs_added_up SET until_ms = :until_ms;

-- name: kept
-- Of which calls there are sums.
SELECT COALESCE(MAX(since_ms), 0), COALESCE(MAX(until_ms), 0) FROM pairs_added_up;

-- name: drop_pairs
-- At most :most rows of days whose detail is gone, or some of it.
DELETE FROM spend_days_by_pair
 WHERE (period_ms, user_id, workflow, deployment, route, key_id, team, basis, outcome, day_ms) IN (
       SELECT period_ms, user_id, workflow, deployment, route, key_id, team, basis, outcome, day_ms
         FROM spend_days_by_pair
        WHERE period_ms < (SELECT since_ms FROM pairs_added_up) AND day_ms < (SELECT since_ms FROM pairs_added_up)
        LIMIT :most);
