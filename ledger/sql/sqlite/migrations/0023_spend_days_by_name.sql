-- Spend by user, workflow and run, added up by the day.

-- The same sums by the day, so that a report over a month does not read every hour of each name.
CREATE TABLE spend_days_by_name (
    dimension TEXT NOT NULL,
    period_ms INTEGER NOT NULL,
    name TEXT NOT NULL,
    deployment TEXT NOT NULL,
    route TEXT NOT NULL,
    key_id TEXT NOT NULL,
    team TEXT NOT NULL,
    basis TEXT NOT NULL,
    outcome TEXT NOT NULL,
    day_ms INTEGER NOT NULL,
    cost_nanousd INTEGER NOT NULL,
    saved_nanousd INTEGER NOT NULL,
    generations INTEGER NOT NULL,
    attempts INTEGER NOT NULL,
    cache_hits INTEGER NOT NULL,
    coalesced INTEGER NOT NULL,
    prompt_tokens INTEGER NOT NULL,
    completion_tokens INTEGER NOT NULL,
    cached_tokens INTEGER NOT NULL,
    reasoning_tokens INTEGER NOT NULL,
    PRIMARY KEY (dimension, period_ms, name, deployment, route, key_id, team, basis, outcome, day_ms)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER a_first_spend_of_an_hour_by_name_is_added_up
AFTER INSERT ON spend_hours_by_name
BEGIN
    INSERT INTO spend_days_by_name (dimension, period_ms, name, deployment, route, key_id, team, basis, outcome,
                                    day_ms, cost_nanousd, saved_nanousd, generations, attempts, cache_hits, coalesced,
                                    prompt_tokens, completion_tokens, cached_tokens, reasoning_tokens)
    VALUES (new.dimension, new.period_ms, new.name, new.deployment, new.route, new.key_id, new.team, new.basis,
            new.outcome, new.hour_ms - new.hour_ms % 86400000, new.cost_nanousd, new.saved_nanousd, new.generations,
            new.attempts, new.cache_hits, new.coalesced, new.prompt_tokens, new.completion_tokens, new.cached_tokens,
            new.reasoning_tokens)
        ON CONFLICT (dimension, period_ms, name, deployment, route, key_id, team, basis, outcome, day_ms) DO UPDATE
       SET cost_nanousd = cost_nanousd + excluded.cost_nanousd, saved_nanousd = saved_nanousd + excluded.saved_nanousd,
           generations = generations + excluded.generations, attempts = attempts + excluded.attempts,
           cache_hits = cache_hits + excluded.cache_hits, coalesced = coalesced + excluded.coalesced,
           prompt_tokens = prompt_tokens + excluded.prompt_tokens,
           completion_tokens = completion_tokens + excluded.completion_tokens,
           cached_tokens = cached_tokens + excluded.cached_tokens,
           reasoning_tokens = reasoning_tokens + excluded.reasoning_tokens;
END;

CREATE TRIGGER a_spend_by_name_is_added_up
AFTER UPDATE OF cost_nanousd, saved_nanousd, generations, attempts, cache_hits, coalesced, prompt_tokens,
                completion_tokens, cached_tokens, reasoning_tokens
ON spend_hours_by_name
BEGIN
    INSERT INTO spend_days_by_name (dimension, period_ms, name, deployment, route, key_id, team, basis, outcome,
                                    day_ms, cost_nanousd, saved_nanousd, generations, attempts, cache_hits, coalesced,
                                    prompt_tokens, completion_tokens, cached_tokens, reasoning_tokens)
    VALUES (new.dimension, new.period_ms, new.name, new.deployment, new.route, new.key_id, new.team, new.basis,
            new.outcome, new.hour_ms - new.hour_ms % 86400000, new.cost_nanousd - old.cost_nanousd,
            new.saved_nanousd - old.saved_nanousd, new.generations - old.generations, new.attempts - old.attempts,
            new.cache_hits - old.cache_hits, new.coalesced - old.coalesced, new.prompt_tokens - old.prompt_tokens,
            new.completion_tokens - old.completion_tokens, new.cached_tokens - old.cached_tokens,
            new.reasoning_tokens - old.reasoning_tokens)
        ON CONFLICT (dimension, period_ms, name, deployment, route, key_id, team, basis, outcome, day_ms) DO UPDATE
       SET cost_nanousd = cost_nanousd + excluded.cost_nanousd, saved_nanousd = saved_nanousd + excluded.saved_nanousd,
           generations = generations + excluded.generations, attempts = attempts + excluded.attempts,
           cache_hits = cache_hits + excluded.cache_hits, coalesced = coalesced + excluded.coalesced,
           prompt_tokens = prompt_tokens + excluded.prompt_tokens,
           completion_tokens = completion_tokens + excluded.completion_tokens,
           cached_tokens = cached_tokens + excluded.cached_tokens,
           reasoning_tokens = reasoning_tokens + excluded.reasoning_tokens;
END;

-- What is left of a day that was folded in part is what is left of its hours.
CREATE TRIGGER a_spend_by_name_that_goes_is_taken_off
AFTER DELETE ON spend_hours_by_name
BEGIN
    INSERT INTO spend_days_by_name (dimension, period_ms, name, deployment, route, key_id, team, basis, outcome,
                                    day_ms, cost_nanousd, saved_nanousd, generations, attempts, cache_hits, coalesced,
                                    prompt_tokens, completion_tokens, cached_tokens, reasoning_tokens)
    VALUES (old.dimension, old.period_ms, old.name, old.deployment, old.route, old.key_id, old.team, old.basis,
            old.outcome, old.hour_ms - old.hour_ms % 86400000, -old.cost_nanousd, -old.saved_nanousd, -old.generations,
            -old.attempts, -old.cache_hits, -old.coalesced, -old.prompt_tokens, -old.completion_tokens,
            -old.cached_tokens, -old.reasoning_tokens)
        ON CONFLICT (dimension, period_ms, name, deployment, route, key_id, team, basis, outcome, day_ms) DO UPDATE
       SET cost_nanousd = cost_nanousd + excluded.cost_nanousd, saved_nanousd = saved_nanousd + excluded.saved_nanousd,
           generations = generations + excluded.generations, attempts = attempts + excluded.attempts,
           cache_hits = cache_hits + excluded.cache_hits, coalesced = coalesced + excluded.coalesced,
           prompt_tokens = prompt_tokens + excluded.prompt_tokens,
           completion_tokens = completion_tokens + excluded.completion_tokens,
           cached_tokens = cached_tokens + excluded.cached_tokens,
           reasoning_tokens = reasoning_tokens + excluded.reasoning_tokens;
    DELETE FROM spend_days_by_name
     WHERE dimension = old.dimension AND period_ms = old.period_ms AND name = old.name AND deployment = old.deployment
       AND route = old.route AND key_id = old.key_id AND team = old.team AND basis = old.basis AND outcome = old.outcome
       AND day_ms = old.hour_ms - old.hour_ms % 86400000
       AND (cost_nanousd, saved_nanousd, generations, attempts, cache_hits, coalesced, prompt_tokens,
            completion_tokens, cached_tokens, reasoning_tokens)
           = (0, 0, 0, 0, 0, 0, 0, 0, 0, 0);
END;

INSERT INTO spend_days_by_name (dimension, period_ms, name, deployment, route, key_id, team, basis, outcome, day_ms,
                                cost_nanousd, saved_nanousd, generations, attempts, cache_hits, coalesced,
                                prompt_tokens, completion_tokens, cached_tokens, reasoning_tokens)
SELECT dimension, period_ms, name, deployment, route, key_id, team, basis, outcome, hour_ms - hour_ms % 86400000,
       SUM(cost_nanousd), SUM(saved_nanousd), SUM(generations), SUM(attempts), SUM(cache_hits), SUM(coalesced),
       SUM(prompt_tokens), SUM(completion_tokens), SUM(cached_tokens), SUM(reasoning_tokens)
  FROM spend_hours_by_name
 GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9, 10;
