-- What an hour of a name adds to its day: in PL/pgSQL, whose plans are kept (a function in SQL is planned anew at every call
-- by servers before 18), and the difference at once, for a row's hour and name never change.
-- beside: 9

CREATE OR REPLACE FUNCTION add_hour_of_name_to_its_day(hour spend_hours_by_name, sign bigint) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO spend_days_by_name AS kept
    VALUES (hour.dimension, hour.period_ms, hour.name, hour.deployment, hour.route, hour.key_id, hour.team, hour.basis,
            hour.outcome, hour.hour_ms - hour.hour_ms % 86400000, sign * hour.cost_nanousd, sign * hour.saved_nanousd,
            sign * hour.generations, sign * hour.attempts, sign * hour.cache_hits, sign * hour.coalesced,
            sign * hour.prompt_tokens, sign * hour.completion_tokens, sign * hour.cached_tokens,
            sign * hour.reasoning_tokens)
        ON CONFLICT (dimension, period_ms, name, deployment, route, key_id, team, basis, outcome, day_ms) DO UPDATE
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
END $$;

CREATE OR REPLACE FUNCTION move_a_spend_by_name() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    more spend_hours_by_name := new;
BEGIN
    more.cost_nanousd := new.cost_nanousd - old.cost_nanousd;
    more.saved_nanousd := new.saved_nanousd - old.saved_nanousd;
    more.generations := new.generations - old.generations;
    more.attempts := new.attempts - old.attempts;
    more.cache_hits := new.cache_hits - old.cache_hits;
    more.coalesced := new.coalesced - old.coalesced;
    more.prompt_tokens := new.prompt_tokens - old.prompt_tokens;
    more.completion_tokens := new.completion_tokens - old.completion_tokens;
    more.cached_tokens := new.cached_tokens - old.cached_tokens;
    more.reasoning_tokens := new.reasoning_tokens - old.reasoning_tokens;
    PERFORM add_hour_of_name_to_its_day(more, 1);
    RETURN NULL;
END $$;
