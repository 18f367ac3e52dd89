-- name: next_part
SELECT from_ms, first_call_ms, first_attempt_ms, next_call_ms, next_attempt_ms FROM next_part_of_pairs(:most);

-- name: add_up
INSERT INTO spend_days_by_pair AS kept (period_ms, user_id, workflow, deployment, route, key_id, team, basis, outcome, day_ms,
                                        cost_nanousd, saved_nanousd, generations, attempts, cache_hits, coalesced,
                                        prompt_tokens, completion_tokens, cached_tokens, reasoning_tokens)
SELECT period_ms, user_id, workflow, deployment, route, key_id, team, basis, outcome, day_ms, cost_nanousd, saved_nanousd,
       generations, attempts, cache_hits, coalesced, prompt_tokens, completion_tokens, cached_tokens, reasoning_tokens
  FROM spend_of_pairs(:since_ms, :until_ms)
    ON CONFLICT (period_ms, user_id, workflow, deployment, route, key_id, team, basis, outcome, day_ms) DO UPDATE
   SET cost_nanousd = kept.cost_nanousd + excluded.cost_nanousd,
       saved_nanousd = kept.saved_nanousd + excluded.saved_nanousd,
       generations = kept.generations + excluded.generations,
       attempts = kept.attempts + excluded.attempts,
       cache_hits = kept.cache_hits + excluded.cache_hits,
       coalesced = kept.coalesced + excluded.coalesced,
       prompt_tokens = kept.prompt_tokens + excluded.prompt_tokens,
       completion_tokens = kept.completion_tokens + excluded.completion_tokens,
       cached_tokens = kept.cached_tokens + excluded.cached_tokens,
       reasoning_tokens = kept.reasoning_tokens + excluded.reasoning_tokens;
