-- Spend by user, workflow and run, added up by the hour.

-- The same sums for each user, workflow and run that calls named, so that a report by one of them does not count call by
-- call. dimension: which of the three `name` is one of. Calls that named none are the rest of `spend_hours`. Ten days are a
-- period, in which all of a name's rows stand together: to add them up, nothing is sorted. Folded detail takes its rows
-- along.
CREATE TABLE spend_hours_by_name (
    dimension TEXT NOT NULL CHECK (dimension IN ('user', 'workflow', 'run')),
    period_ms INTEGER NOT NULL CHECK (period_ms = hour_ms - hour_ms % 864000000),
    name TEXT NOT NULL CHECK (name <> ''),
    deployment TEXT NOT NULL,
    route TEXT NOT NULL,
    key_id TEXT NOT NULL,
    team TEXT NOT NULL,
    basis TEXT NOT NULL,
    outcome TEXT NOT NULL,
    hour_ms INTEGER NOT NULL,
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
    PRIMARY KEY (dimension, period_ms, name, deployment, route, key_id, team, basis, outcome, hour_ms)
) STRICT, WITHOUT ROWID;

-- What a call named, a row each.
CREATE VIEW named_generations AS
SELECT generation_id, created_at_ms, route, key_id, team, 'user' AS dimension, user_id AS name
  FROM generations WHERE user_id <> ''
 UNION ALL
SELECT generation_id, created_at_ms, route, key_id, team, 'workflow', workflow FROM generations WHERE workflow <> ''
 UNION ALL
SELECT generation_id, created_at_ms, route, key_id, team, 'run', run FROM generations WHERE run <> '';

-- What those sums are made of: every closed attempt, correction and ended call, once for each of its names.
CREATE VIEW named_spend AS
SELECT g.dimension, h.taken_at_ms - h.taken_at_ms % 3600000 AS hour_ms, g.name, h.deployment, g.route, g.key_id, g.team,
       COALESCE((SELECT c.cost_basis FROM postings AS c WHERE c.hold_id = h.hold_id AND c.kind = 'correction'
                  ORDER BY c.seq DESC LIMIT 1), p.cost_basis, 'free') AS basis,
       h.outcome, COALESCE(p.cost_nanousd, 0) AS cost_nanousd, 0 AS saved_nanousd, 0 AS generations, 1 AS attempts,
       0 AS cache_hits, 0 AS coalesced, COALESCE(p.prompt_tokens, 0) AS prompt_tokens,
       COALESCE(p.completion_tokens, 0) AS completion_tokens, COALESCE(p.cache_read_tokens, 0) AS cached_tokens,
       COALESCE(p.reasoning_tokens, 0) AS reasoning_tokens
  FROM holds AS h
  JOIN named_generations AS g USING (generation_id)
  LEFT JOIN counted_lines AS p ON p.hold_id = h.hold_id AND p.kind <> 'correction'
 WHERE h.state <> 'held'
 UNION ALL
SELECT g.dimension, h.taken_at_ms - h.taken_at_ms % 3600000, g.name, h.deployment, g.route, g.key_id, g.team,
       (SELECT c.cost_basis FROM postings AS c WHERE c.hold_id = h.hold_id AND c.kind = 'correction'
         ORDER BY c.seq DESC LIMIT 1),
       h.outcome, p.cost_nanousd, 0, 0, 0, 0, 0, COALESCE(p.prompt_tokens, 0), COALESCE(p.completion_tokens, 0),
       COALESCE(p.cache_read_tokens, 0), COALESCE(p.reasoning_tokens, 0)
  FROM holds AS h
  JOIN named_generations AS g USING (generation_id)
  JOIN counted_lines AS p ON p.hold_id = h.hold_id AND p.kind = 'correction'
 UNION ALL
SELECT n.dimension, g.created_at_ms - g.created_at_ms % 3600000, n.name, g.deployment, g.route, g.key_id, g.team,
       COALESCE(g.cost_basis, 'unknown'), g.outcome, 0, g.saved_nanousd, 1, 0, g.cache = 'hit', g.cache = 'coalesced',
       0, 0, 0, 0
  FROM generations AS g
  JOIN named_generations AS n USING (generation_id)
 WHERE g.outcome IS NOT NULL;

CREATE TRIGGER a_hold_without_charge_is_added_up_by_name
AFTER UPDATE OF state ON holds
WHEN new.state = 'released'
BEGIN
    INSERT INTO spend_hours_by_name (dimension, period_ms, name, deployment, route, key_id, team, basis, outcome, hour_ms,
                                     attempts)
    SELECT g.dimension, new.taken_at_ms - new.taken_at_ms % 864000000, g.name, new.deployment, g.route, g.key_id, g.team,
           'free', new.outcome, new.taken_at_ms - new.taken_at_ms % 3600000, 1
      FROM named_generations AS g
     WHERE g.generation_id = new.generation_id
        ON CONFLICT (dimension, period_ms, name, deployment, route, key_id, team, basis, outcome, hour_ms) DO UPDATE
       SET attempts = attempts + excluded.attempts;
END;

CREATE TRIGGER a_line_is_added_up_by_name
AFTER INSERT ON postings
BEGIN
    INSERT INTO spend_hours_by_name (dimension, period_ms, name, deployment, route, key_id, team, basis, outcome, hour_ms,
                                     cost_nanousd, attempts, prompt_tokens, completion_tokens, cached_tokens,
                                     reasoning_tokens)
    SELECT g.dimension, h.taken_at_ms - h.taken_at_ms % 864000000, g.name, h.deployment, g.route, g.key_id, g.team,
           new.cost_basis, h.outcome, h.taken_at_ms - h.taken_at_ms % 3600000, new.cost_nanousd, new.kind <> 'correction',
           COALESCE(p.prompt_tokens, 0), COALESCE(p.completion_tokens, 0), COALESCE(p.cache_read_tokens, 0),
           COALESCE(p.reasoning_tokens, 0)
      FROM counted_lines AS p
      JOIN holds AS h USING (hold_id)
      JOIN named_generations AS g USING (generation_id)
     WHERE p.seq = new.seq
        ON CONFLICT (dimension, period_ms, name, deployment, route, key_id, team, basis, outcome, hour_ms) DO UPDATE
       SET cost_nanousd = cost_nanousd + excluded.cost_nanousd, attempts = attempts + excluded.attempts,
           prompt_tokens = prompt_tokens + excluded.prompt_tokens,
           completion_tokens = completion_tokens + excluded.completion_tokens,
           cached_tokens = cached_tokens + excluded.cached_tokens,
           reasoning_tokens = reasoning_tokens + excluded.reasoning_tokens;
END;

CREATE TRIGGER a_correction_moves_what_it_corrects_by_name
AFTER INSERT ON postings
WHEN new.kind = 'correction'
BEGIN
    INSERT INTO spend_hours_by_name (dimension, period_ms, name, deployment, route, key_id, team, basis, outcome, hour_ms,
                                     cost_nanousd, attempts, prompt_tokens, completion_tokens, cached_tokens,
                                     reasoning_tokens)
    SELECT g.dimension, h.taken_at_ms - h.taken_at_ms % 864000000, g.name, h.deployment, g.route, g.key_id, g.team,
           side.basis, h.outcome, h.taken_at_ms - h.taken_at_ms % 3600000,
           side.sign * before.cost_nanousd, side.sign, side.sign * before.prompt_tokens,
           side.sign * before.completion_tokens, side.sign * before.cached_tokens, side.sign * before.reasoning_tokens
      FROM (SELECT COALESCE(SUM(cost_nanousd), 0) AS cost_nanousd,
                   COALESCE(SUM(prompt_tokens), 0) AS prompt_tokens,
                   COALESCE(SUM(completion_tokens), 0) AS completion_tokens,
                   COALESCE(SUM(cache_read_tokens), 0) AS cached_tokens,
                   COALESCE(SUM(reasoning_tokens), 0) AS reasoning_tokens
              FROM lines_of_holds
             WHERE hold_id = new.hold_id AND seq < new.seq) AS before,
           (SELECT -1 AS sign,
                   COALESCE((SELECT cost_basis FROM lines_of_holds WHERE hold_id = new.hold_id AND seq < new.seq
                              ORDER BY seq DESC LIMIT 1), 'free') AS basis
             UNION ALL
            SELECT 1, new.cost_basis) AS side,
           holds AS h
      JOIN named_generations AS g USING (generation_id)
     WHERE h.hold_id = new.hold_id
        ON CONFLICT (dimension, period_ms, name, deployment, route, key_id, team, basis, outcome, hour_ms) DO UPDATE
       SET cost_nanousd = cost_nanousd + excluded.cost_nanousd, attempts = attempts + excluded.attempts,
           prompt_tokens = prompt_tokens + excluded.prompt_tokens,
           completion_tokens = completion_tokens + excluded.completion_tokens,
           cached_tokens = cached_tokens + excluded.cached_tokens,
           reasoning_tokens = reasoning_tokens + excluded.reasoning_tokens;
END;

CREATE TRIGGER a_finished_generation_is_added_up_by_name
AFTER INSERT ON generations
WHEN new.outcome IS NOT NULL AND (new.user_id <> '' OR new.workflow <> '' OR new.run <> '')
BEGIN
    INSERT INTO spend_hours_by_name (dimension, period_ms, name, deployment, route, key_id, team, basis, outcome, hour_ms,
                                     saved_nanousd, generations, cache_hits, coalesced)
    SELECT named.dimension, new.created_at_ms - new.created_at_ms % 864000000, named.name, new.deployment, new.route,
           new.key_id, new.team, COALESCE(new.cost_basis, 'unknown'), new.outcome,
           new.created_at_ms - new.created_at_ms % 3600000,
           new.saved_nanousd, 1, (new.cache = 'hit'), (new.cache = 'coalesced')
      FROM (SELECT 'user' AS dimension, new.user_id AS name
             UNION ALL SELECT 'workflow', new.workflow
             UNION ALL SELECT 'run', new.run) AS named
     WHERE named.name <> ''
        ON CONFLICT (dimension, period_ms, name, deployment, route, key_id, team, basis, outcome, hour_ms) DO UPDATE
       SET saved_nanousd = saved_nanousd + excluded.saved_nanousd, generations = generations + excluded.generations,
           cache_hits = cache_hits + excluded.cache_hits, coalesced = coalesced + excluded.coalesced;
END;

CREATE TRIGGER an_ended_generation_is_added_up_by_name
AFTER UPDATE OF outcome ON generations
WHEN new.outcome IS NOT NULL AND (new.user_id <> '' OR new.workflow <> '' OR new.run <> '')
BEGIN
    INSERT INTO spend_hours_by_name (dimension, period_ms, name, deployment, route, key_id, team, basis, outcome, hour_ms,
                                     saved_nanousd, generations, cache_hits, coalesced)
    SELECT named.dimension, new.created_at_ms - new.created_at_ms % 864000000, named.name, new.deployment, new.route,
           new.key_id, new.team, COALESCE(new.cost_basis, 'unknown'), new.outcome,
           new.created_at_ms - new.created_at_ms % 3600000,
           new.saved_nanousd, 1, (new.cache = 'hit'), (new.cache = 'coalesced')
      FROM (SELECT 'user' AS dimension, new.user_id AS name
             UNION ALL SELECT 'workflow', new.workflow
             UNION ALL SELECT 'run', new.run) AS named
     WHERE named.name <> ''
        ON CONFLICT (dimension, period_ms, name, deployment, route, key_id, team, basis, outcome, hour_ms) DO UPDATE
       SET saved_nanousd = saved_nanousd + excluded.saved_nanousd, generations = generations + excluded.generations,
           cache_hits = cache_hits + excluded.cache_hits, coalesced = coalesced + excluded.coalesced;
END;

CREATE TRIGGER a_generation_told_again_is_moved_by_name
AFTER UPDATE OF outcome ON generations
WHEN old.outcome IS NOT NULL AND (new.user_id <> '' OR new.workflow <> '' OR new.run <> '')
BEGIN
    INSERT INTO spend_hours_by_name (dimension, period_ms, name, deployment, route, key_id, team, basis, outcome, hour_ms,
                                     saved_nanousd, generations, cache_hits, coalesced)
    SELECT named.dimension, old.created_at_ms - old.created_at_ms % 864000000, named.name, old.deployment, old.route,
           old.key_id, old.team, COALESCE(old.cost_basis, 'unknown'), old.outcome,
           old.created_at_ms - old.created_at_ms % 3600000,
           -old.saved_nanousd, -1, -(old.cache = 'hit'), -(old.cache = 'coalesced')
      FROM (SELECT 'user' AS dimension, old.user_id AS name
             UNION ALL SELECT 'workflow', old.workflow
             UNION ALL SELECT 'run', old.run) AS named
     WHERE named.name <> ''
        ON CONFLICT (dimension, period_ms, name, deployment, route, key_id, team, basis, outcome, hour_ms) DO UPDATE
       SET saved_nanousd = saved_nanousd + excluded.saved_nanousd, generations = generations + excluded.generations,
           cache_hits = cache_hits + excluded.cache_hits, coalesced = coalesced + excluded.coalesced;
END;

INSERT INTO spend_hours_by_name (dimension, period_ms, name, deployment, route, key_id, team, basis, outcome, hour_ms,
                                 cost_nanousd, saved_nanousd, generations, attempts, cache_hits, coalesced, prompt_tokens,
                                 completion_tokens, cached_tokens, reasoning_tokens)
SELECT dimension, hour_ms - hour_ms % 864000000, name, deployment, route, key_id, team, basis, outcome, hour_ms,
       SUM(cost_nanousd), SUM(saved_nanousd), SUM(generations), SUM(attempts), SUM(cache_hits), SUM(coalesced),
       SUM(prompt_tokens), SUM(completion_tokens), SUM(cached_tokens), SUM(reasoning_tokens)
  FROM named_spend
 GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9, 10;
