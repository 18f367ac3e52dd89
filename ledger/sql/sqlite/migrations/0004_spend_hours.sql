-- Spend added up by the hour, for reports that stay fast: kept by the triggers below, in the transaction of the facts.
-- Attempts are in the hour of their hold, at their deployment; generations in the hour of the call, at the deployment
-- that answered. What is still open is not here. basis: of an attempt's newest line; `free` where nothing was charged.
CREATE TABLE spend_hours (
    hour_ms INTEGER NOT NULL,
    deployment TEXT NOT NULL,
    route TEXT NOT NULL,
    key_id TEXT NOT NULL,
    team TEXT NOT NULL,
    basis TEXT NOT NULL,
    outcome TEXT NOT NULL,
    cost_nanousd INTEGER NOT NULL DEFAULT 0,
    saved_nanousd INTEGER NOT NULL DEFAULT 0,
    generations INTEGER NOT NULL DEFAULT 0,
    attempts INTEGER NOT NULL DEFAULT 0,
    cache_hits INTEGER NOT NULL DEFAULT 0,
    coalesced INTEGER NOT NULL DEFAULT 0,
    prompt_tokens INTEGER NOT NULL DEFAULT 0,
    completion_tokens INTEGER NOT NULL DEFAULT 0,
    cached_tokens INTEGER NOT NULL DEFAULT 0,
    reasoning_tokens INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (hour_ms, deployment, route, key_id, team, basis, outcome)
) STRICT, WITHOUT ROWID;

-- A generation that has not ended yet.
CREATE INDEX open_generations ON generations (created_at_ms) WHERE outcome IS NULL;

-- Every line by its hold, by way of the two partial indexes.
CREATE VIEW lines_of_holds AS
SELECT hold_id, seq, kind, cost_nanousd, cost_basis, input_tokens, cached_tokens, cache_write_tokens, output_tokens,
       reasoning_tokens
  FROM postings WHERE kind <> 'correction'
 UNION ALL
SELECT hold_id, seq, kind, cost_nanousd, cost_basis, input_tokens, cached_tokens, cache_write_tokens, output_tokens,
       reasoning_tokens
  FROM postings WHERE kind = 'correction';

CREATE TRIGGER a_hold_without_charge_is_added_up
AFTER UPDATE OF state ON holds
WHEN new.state = 'released'
BEGIN
    INSERT INTO spend_hours (hour_ms, deployment, route, key_id, team, basis, outcome,
                             attempts)
    SELECT new.taken_at_ms - new.taken_at_ms % 3600000, new.deployment, g.route, g.key_id, g.team, 'free', new.outcome,
           1
      FROM generations AS g
     WHERE g.generation_id = new.generation_id
        ON CONFLICT (hour_ms, deployment, route, key_id, team, basis, outcome) DO UPDATE
       SET attempts = attempts + excluded.attempts;
END;

CREATE TRIGGER a_line_is_added_up
AFTER INSERT ON postings
BEGIN
    INSERT INTO spend_hours (hour_ms, deployment, route, key_id, team, basis, outcome,
                             cost_nanousd, attempts, prompt_tokens, completion_tokens, cached_tokens, reasoning_tokens)
    SELECT h.taken_at_ms - h.taken_at_ms % 3600000, h.deployment, g.route, g.key_id, g.team, new.cost_basis, h.outcome,
           new.cost_nanousd, new.kind <> 'correction',
           COALESCE(new.input_tokens + new.cached_tokens + new.cache_write_tokens, 0),
           COALESCE(new.output_tokens + new.reasoning_tokens, 0), COALESCE(new.cached_tokens, 0),
           COALESCE(new.reasoning_tokens, 0)
      FROM holds AS h
      JOIN generations AS g USING (generation_id)
     WHERE h.hold_id = new.hold_id
        ON CONFLICT (hour_ms, deployment, route, key_id, team, basis, outcome) DO UPDATE
       SET cost_nanousd = cost_nanousd + excluded.cost_nanousd, attempts = attempts + excluded.attempts,
           prompt_tokens = prompt_tokens + excluded.prompt_tokens,
           completion_tokens = completion_tokens + excluded.completion_tokens,
           cached_tokens = cached_tokens + excluded.cached_tokens,
           reasoning_tokens = reasoning_tokens + excluded.reasoning_tokens;
END;

-- What an attempt cost before is as sure as its newest line is.
CREATE TRIGGER a_correction_moves_what_it_corrects
AFTER INSERT ON postings
WHEN new.kind = 'correction'
BEGIN
    INSERT INTO spend_hours (hour_ms, deployment, route, key_id, team, basis, outcome,
                             cost_nanousd, attempts, prompt_tokens, completion_tokens, cached_tokens, reasoning_tokens)
    SELECT h.taken_at_ms - h.taken_at_ms % 3600000, h.deployment, g.route, g.key_id, g.team, side.basis, h.outcome,
           side.sign * before.cost_nanousd, side.sign, side.sign * before.prompt_tokens,
           side.sign * before.completion_tokens, side.sign * before.cached_tokens, side.sign * before.reasoning_tokens
      FROM (SELECT COALESCE(SUM(cost_nanousd), 0) AS cost_nanousd,
                   COALESCE(SUM(input_tokens + cached_tokens + cache_write_tokens), 0) AS prompt_tokens,
                   COALESCE(SUM(output_tokens + reasoning_tokens), 0) AS completion_tokens,
                   COALESCE(SUM(cached_tokens), 0) AS cached_tokens,
                   COALESCE(SUM(reasoning_tokens), 0) AS reasoning_tokens
              FROM lines_of_holds
             WHERE hold_id = new.hold_id AND seq < new.seq) AS before,
           (SELECT -1 AS sign,
                   COALESCE((SELECT cost_basis FROM lines_of_holds WHERE hold_id = new.hold_id AND seq < new.seq
                              ORDER BY seq DESC LIMIT 1), 'free') AS basis
             UNION ALL
            SELECT 1, new.cost_basis) AS side,
           holds AS h
      JOIN generations AS g USING (generation_id)
     WHERE h.hold_id = new.hold_id
        ON CONFLICT (hour_ms, deployment, route, key_id, team, basis, outcome) DO UPDATE
       SET cost_nanousd = cost_nanousd + excluded.cost_nanousd, attempts = attempts + excluded.attempts,
           prompt_tokens = prompt_tokens + excluded.prompt_tokens,
           completion_tokens = completion_tokens + excluded.completion_tokens,
           cached_tokens = cached_tokens + excluded.cached_tokens,
           reasoning_tokens = reasoning_tokens + excluded.reasoning_tokens;
END;

CREATE TRIGGER a_finished_generation_is_added_up
AFTER INSERT ON generations
WHEN new.outcome IS NOT NULL
BEGIN
    INSERT INTO spend_hours (hour_ms, deployment, route, key_id, team, basis, outcome,
                             saved_nanousd, generations, cache_hits, coalesced)
    SELECT new.created_at_ms - new.created_at_ms % 3600000, new.deployment, new.route, new.key_id, new.team,
           COALESCE(new.cost_basis, 'unknown'), new.outcome,
           new.saved_nanousd, 1, (new.cache = 'hit'), (new.cache = 'coalesced')
     WHERE true
        ON CONFLICT (hour_ms, deployment, route, key_id, team, basis, outcome) DO UPDATE
       SET saved_nanousd = saved_nanousd + excluded.saved_nanousd, generations = generations + excluded.generations,
           cache_hits = cache_hits + excluded.cache_hits, coalesced = coalesced + excluded.coalesced;
END;

CREATE TRIGGER an_ended_generation_is_added_up
AFTER UPDATE OF outcome ON generations
WHEN new.outcome IS NOT NULL
BEGIN
    INSERT INTO spend_hours (hour_ms, deployment, route, key_id, team, basis, outcome,
                             saved_nanousd, generations, cache_hits, coalesced)
    SELECT new.created_at_ms - new.created_at_ms % 3600000, new.deployment, new.route, new.key_id, new.team,
           COALESCE(new.cost_basis, 'unknown'), new.outcome,
           new.saved_nanousd, 1, (new.cache = 'hit'), (new.cache = 'coalesced')
     WHERE true
        ON CONFLICT (hour_ms, deployment, route, key_id, team, basis, outcome) DO UPDATE
       SET saved_nanousd = saved_nanousd + excluded.saved_nanousd, generations = generations + excluded.generations,
           cache_hits = cache_hits + excluded.cache_hits, coalesced = coalesced + excluded.coalesced;
END;

-- A lost generation whose process was only late is told again.
CREATE TRIGGER a_generation_told_again_is_moved
AFTER UPDATE OF outcome ON generations
WHEN old.outcome IS NOT NULL
BEGIN
    INSERT INTO spend_hours (hour_ms, deployment, route, key_id, team, basis, outcome,
                             saved_nanousd, generations, cache_hits, coalesced)
    SELECT old.created_at_ms - old.created_at_ms % 3600000, old.deployment, old.route, old.key_id, old.team,
           COALESCE(old.cost_basis, 'unknown'), old.outcome,
           -old.saved_nanousd, -1, -(old.cache = 'hit'), -(old.cache = 'coalesced')
     WHERE true
        ON CONFLICT (hour_ms, deployment, route, key_id, team, basis, outcome) DO UPDATE
       SET saved_nanousd = saved_nanousd + excluded.saved_nanousd, generations = generations + excluded.generations,
           cache_hits = cache_hits + excluded.cache_hits, coalesced = coalesced + excluded.coalesced;
END;

CREATE TRIGGER how_an_attempt_ended_stays
BEFORE UPDATE OF outcome ON holds
WHEN old.outcome IS NOT NULL AND new.outcome IS NOT old.outcome
BEGIN
    SELECT RAISE(ABORT, 'how an attempt ended stays');
END;

-- The same counts of latency by the day, so that a report over a year does not read every hour of it.
CREATE TABLE latency_days (
    day_ms INTEGER NOT NULL,
    deployment TEXT NOT NULL,
    kind TEXT NOT NULL,
    bucket INTEGER NOT NULL,
    count INTEGER NOT NULL,
    sum_us INTEGER NOT NULL,
    max_us INTEGER NOT NULL,
    PRIMARY KEY (day_ms, deployment, kind, bucket)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER a_first_latency_of_an_hour_is_added_up
AFTER INSERT ON latency_buckets
BEGIN
    INSERT INTO latency_days (day_ms, deployment, kind, bucket, count, sum_us, max_us)
    VALUES (new.hour_ms - new.hour_ms % 86400000, new.deployment, new.kind, new.bucket, new.count, new.sum_us, new.max_us)
        ON CONFLICT (day_ms, deployment, kind, bucket) DO UPDATE
       SET count = count + excluded.count, sum_us = sum_us + excluded.sum_us, max_us = MAX(max_us, excluded.max_us);
END;

CREATE TRIGGER a_latency_is_added_up
AFTER UPDATE OF count ON latency_buckets
BEGIN
    UPDATE latency_days
       SET count = count + new.count - old.count, sum_us = sum_us + new.sum_us - old.sum_us,
           max_us = MAX(max_us, new.max_us)
     WHERE day_ms = new.hour_ms - new.hour_ms % 86400000 AND deployment = new.deployment AND kind = new.kind
       AND bucket = new.bucket;
END;
