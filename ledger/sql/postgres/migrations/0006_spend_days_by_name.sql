-- Spend by user, workflow and run, added up by the day. What the table is for is said in sql/sqlite/schema.sql.
-- beside: 5

CREATE TABLE spend_days_by_name (
    dimension text COLLATE "C" NOT NULL,
    period_ms bigint NOT NULL,
    name text COLLATE "C" NOT NULL,
    deployment text COLLATE "C" NOT NULL,
    route text COLLATE "C" NOT NULL,
    key_id text COLLATE "C" NOT NULL,
    team text COLLATE "C" NOT NULL,
    basis text COLLATE "C" NOT NULL,
    outcome text COLLATE "C" NOT NULL,
    day_ms bigint NOT NULL,
    cost_nanousd bigint NOT NULL,
    saved_nanousd bigint NOT NULL,
    generations bigint NOT NULL,
    attempts bigint NOT NULL,
    cache_hits bigint NOT NULL,
    coalesced bigint NOT NULL,
    prompt_tokens bigint NOT NULL,
    completion_tokens bigint NOT NULL,
    cached_tokens bigint NOT NULL,
    reasoning_tokens bigint NOT NULL,
    PRIMARY KEY (dimension, period_ms, name, deployment, route, key_id, team, basis, outcome, day_ms)
);

-- Adds an hour's sums to its day, `sign` times.
CREATE FUNCTION add_hour_of_name_to_its_day(hour spend_hours_by_name, sign bigint) RETURNS void LANGUAGE sql AS $$
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
           reasoning_tokens = kept.reasoning_tokens + excluded.reasoning_tokens
$$;

CREATE FUNCTION add_up_a_spend_by_name() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM add_hour_of_name_to_its_day(new, 1);
    RETURN NULL;
END $$;

CREATE TRIGGER a_first_spend_of_an_hour_by_name_is_added_up
AFTER INSERT ON spend_hours_by_name FOR EACH ROW EXECUTE FUNCTION add_up_a_spend_by_name();

CREATE FUNCTION move_a_spend_by_name() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM add_hour_of_name_to_its_day(old, -1);
    PERFORM add_hour_of_name_to_its_day(new, 1);
    RETURN NULL;
END $$;

CREATE TRIGGER a_spend_by_name_is_added_up
AFTER UPDATE ON spend_hours_by_name FOR EACH ROW EXECUTE FUNCTION move_a_spend_by_name();

CREATE FUNCTION take_off_a_spend_by_name() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM add_hour_of_name_to_its_day(old, -1);
    DELETE FROM spend_days_by_name
     WHERE (dimension, period_ms, name, deployment, route, key_id, team, basis, outcome, day_ms)
           = (old.dimension, old.period_ms, old.name, old.deployment, old.route, old.key_id, old.team, old.basis,
              old.outcome,
              old.hour_ms - old.hour_ms % 86400000)
       AND (cost_nanousd, saved_nanousd, generations, attempts, cache_hits, coalesced, prompt_tokens,
            completion_tokens, cached_tokens, reasoning_tokens)
           = (0, 0, 0, 0, 0, 0, 0, 0, 0, 0);
    RETURN NULL;
END $$;

CREATE TRIGGER a_spend_by_name_that_goes_is_taken_off
AFTER DELETE ON spend_hours_by_name FOR EACH ROW EXECUTE FUNCTION take_off_a_spend_by_name();

INSERT INTO spend_days_by_name (dimension, period_ms, name, deployment, route, key_id, team, basis, outcome, day_ms,
                                cost_nanousd, saved_nanousd, generations, attempts, cache_hits, coalesced,
                                prompt_tokens, completion_tokens, cached_tokens, reasoning_tokens)
SELECT dimension, period_ms, name, deployment, route, key_id, team, basis, outcome, hour_ms - hour_ms % 86400000,
       SUM(cost_nanousd), SUM(saved_nanousd), SUM(generations), SUM(attempts), SUM(cache_hits), SUM(coalesced),
       SUM(prompt_tokens), SUM(completion_tokens), SUM(cached_tokens), SUM(reasoning_tokens)
  FROM spend_hours_by_name
 GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9, 10;
