-- What the calls of one batch add to users, workflows and runs is added up once for all of them.

DROP TRIGGER a_line_is_added_up_by_name;
DROP TRIGGER a_correction_moves_what_it_corrects;
DROP TRIGGER a_correction_moves_what_it_corrects_by_name;
DROP TRIGGER an_ended_generation_is_added_up_by_name;
DROP TRIGGER a_generation_told_again_is_moved;
DROP TRIGGER a_generation_told_again_is_moved_by_name;
DROP TRIGGER a_finished_generation_is_added_up;
DROP TRIGGER a_finished_generation_is_added_up_by_name;

-- Nowhere: it never has a row, so that nobody can commit what refers to one.
CREATE TABLE nowhere (
    id INTEGER NOT NULL PRIMARY KEY CHECK (id <> id)
) STRICT;

-- While there is a row, what lines and calls add to users, workflows and runs is not added up one by one but postponed, and
-- is added up by groups when the row goes. That has to be before the transaction ends: SQLite commits nothing that leads
-- nowhere.
CREATE TABLE postponing (
    id INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
    ends_before_commit INTEGER NOT NULL DEFAULT 0 REFERENCES nowhere (id) DEFERRABLE INITIALLY DEFERRED
) STRICT;

-- What is to be added up then.
CREATE TABLE postponed (
    hour_ms INTEGER NOT NULL,
    deployment TEXT NOT NULL,
    route TEXT NOT NULL,
    key_id TEXT NOT NULL,
    team TEXT NOT NULL,
    user_id TEXT NOT NULL,
    workflow TEXT NOT NULL,
    run TEXT NOT NULL,
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
    reasoning_tokens INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE TRIGGER what_was_postponed_is_added_up
AFTER DELETE ON postponing
BEGIN
    INSERT INTO spend_hours_by_name (dimension, period_ms, name, deployment, route, key_id, team, basis, outcome,
                                    hour_ms, cost_nanousd, saved_nanousd, generations, attempts, cache_hits, coalesced,
                                    prompt_tokens, completion_tokens, cached_tokens, reasoning_tokens)
    SELECT named.dimension, hour_ms - hour_ms % 864000000,
           CASE named.dimension WHEN 'user' THEN user_id WHEN 'workflow' THEN workflow ELSE run END AS name, deployment,
           route, key_id, team, basis, outcome, hour_ms, SUM(cost_nanousd), SUM(saved_nanousd), SUM(generations),
           SUM(attempts), SUM(cache_hits), SUM(coalesced), SUM(prompt_tokens), SUM(completion_tokens),
           SUM(cached_tokens), SUM(reasoning_tokens)
      FROM postponed
     CROSS JOIN (SELECT 'user' AS dimension UNION ALL SELECT 'workflow' UNION ALL SELECT 'run') AS named
     WHERE name <> ''
     GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9, 10
        ON CONFLICT (dimension, period_ms, name, deployment, route, key_id, team, basis, outcome, hour_ms) DO UPDATE
       SET cost_nanousd = cost_nanousd + excluded.cost_nanousd, saved_nanousd = saved_nanousd + excluded.saved_nanousd,
           generations = generations + excluded.generations, attempts = attempts + excluded.attempts,
           cache_hits = cache_hits + excluded.cache_hits, coalesced = coalesced + excluded.coalesced,
           prompt_tokens = prompt_tokens + excluded.prompt_tokens,
           completion_tokens = completion_tokens + excluded.completion_tokens,
           cached_tokens = cached_tokens + excluded.cached_tokens,
           reasoning_tokens = reasoning_tokens + excluded.reasoning_tokens;
    DELETE FROM postponed;
END;

CREATE TRIGGER a_line_is_added_up_by_name
AFTER INSERT ON postings
WHEN NOT EXISTS (SELECT 1 FROM postponing)
 AND EXISTS (SELECT 1 FROM holds AS h JOIN generations AS g USING (generation_id)
              WHERE h.hold_id = new.hold_id AND (g.user_id <> '' OR g.workflow <> '' OR g.run <> ''))
BEGIN
    INSERT INTO spend_hours_by_name (dimension, period_ms, name, deployment, route, key_id, team, basis, outcome, hour_ms,
                                     cost_nanousd, attempts, prompt_tokens, completion_tokens, cached_tokens,
                                     reasoning_tokens)
    SELECT named.dimension, h.taken_at_ms - h.taken_at_ms % 864000000,
           CASE named.dimension WHEN 'user' THEN g.user_id WHEN 'workflow' THEN g.workflow ELSE g.run END AS name,
           h.deployment, g.route, g.key_id, g.team, new.cost_basis, h.outcome, h.taken_at_ms - h.taken_at_ms % 3600000,
           new.cost_nanousd, new.kind <> 'correction',
           COALESCE(p.prompt_tokens, 0), COALESCE(p.completion_tokens, 0), COALESCE(p.cache_read_tokens, 0),
           COALESCE(p.reasoning_tokens, 0)
      FROM counted_lines AS p
      JOIN holds AS h USING (hold_id)
      JOIN generations AS g USING (generation_id)
     CROSS JOIN (SELECT 'user' AS dimension UNION ALL SELECT 'workflow' UNION ALL SELECT 'run') AS named
     WHERE p.seq = new.seq
       AND CASE named.dimension WHEN 'user' THEN g.user_id WHEN 'workflow' THEN g.workflow ELSE g.run END <> ''
        ON CONFLICT (dimension, period_ms, name, deployment, route, key_id, team, basis, outcome, hour_ms) DO UPDATE
       SET cost_nanousd = cost_nanousd + excluded.cost_nanousd, attempts = attempts + excluded.attempts,
           prompt_tokens = prompt_tokens + excluded.prompt_tokens,
           completion_tokens = completion_tokens + excluded.completion_tokens,
           cached_tokens = cached_tokens + excluded.cached_tokens,
           reasoning_tokens = reasoning_tokens + excluded.reasoning_tokens;
END;

CREATE TRIGGER a_line_is_postponed
AFTER INSERT ON postings
WHEN EXISTS (SELECT 1 FROM postponing)
BEGIN
    INSERT INTO postponed (hour_ms, deployment, route, key_id, team, user_id, workflow, run, basis, outcome,
                           cost_nanousd, attempts, prompt_tokens, completion_tokens, cached_tokens, reasoning_tokens)
    SELECT h.taken_at_ms - h.taken_at_ms % 3600000, h.deployment, g.route, g.key_id, g.team, g.user_id, g.workflow,
           g.run, new.cost_basis, h.outcome, new.cost_nanousd, new.kind <> 'correction', COALESCE(p.prompt_tokens, 0),
           COALESCE(p.completion_tokens, 0), COALESCE(p.cache_read_tokens, 0), COALESCE(p.reasoning_tokens, 0)
      FROM counted_lines AS p
      JOIN holds AS h USING (hold_id)
      JOIN generations AS g USING (generation_id)
     WHERE p.seq = new.seq AND (g.user_id <> '' OR g.workflow <> '' OR g.run <> '');
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
      JOIN generations AS g USING (generation_id)
     WHERE h.hold_id = new.hold_id
        ON CONFLICT (hour_ms, deployment, route, key_id, team, basis, outcome) DO UPDATE
       SET cost_nanousd = cost_nanousd + excluded.cost_nanousd, attempts = attempts + excluded.attempts,
           prompt_tokens = prompt_tokens + excluded.prompt_tokens,
           completion_tokens = completion_tokens + excluded.completion_tokens,
           cached_tokens = cached_tokens + excluded.cached_tokens,
           reasoning_tokens = reasoning_tokens + excluded.reasoning_tokens;
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

CREATE TRIGGER an_ended_generation_is_added_up_by_name
AFTER UPDATE OF outcome ON generations
WHEN new.outcome IS NOT NULL AND (new.user_id <> '' OR new.workflow <> '' OR new.run <> '')
 AND NOT EXISTS (SELECT 1 FROM postponing)
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

CREATE TRIGGER an_ended_generation_is_postponed
AFTER UPDATE OF outcome ON generations
WHEN new.outcome IS NOT NULL AND (new.user_id <> '' OR new.workflow <> '' OR new.run <> '')
 AND EXISTS (SELECT 1 FROM postponing)
BEGIN
    INSERT INTO postponed (hour_ms, deployment, route, key_id, team, user_id, workflow, run, basis, outcome,
                           saved_nanousd, generations, cache_hits, coalesced)
    SELECT new.created_at_ms - new.created_at_ms % 3600000, new.deployment, new.route, new.key_id, new.team,
           new.user_id, new.workflow, new.run, COALESCE(new.cost_basis, 'unknown'), new.outcome, new.saved_nanousd, 1,
           (new.cache = 'hit'), (new.cache = 'coalesced');
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

-- Each hit pays for this: as few programs as can be.
CREATE TRIGGER a_finished_generation_is_added_up
AFTER INSERT ON generations
WHEN new.outcome IS NOT NULL
 AND (new.user_id = '' AND new.workflow = '' AND new.run = '' OR EXISTS (SELECT 1 FROM postponing))
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
    INSERT INTO postponed (hour_ms, deployment, route, key_id, team, user_id, workflow, run, basis, outcome,
                           saved_nanousd, generations, cache_hits, coalesced)
    SELECT new.created_at_ms - new.created_at_ms % 3600000, new.deployment, new.route, new.key_id, new.team,
           new.user_id, new.workflow, new.run, COALESCE(new.cost_basis, 'unknown'), new.outcome, new.saved_nanousd, 1,
           (new.cache = 'hit'), (new.cache = 'coalesced')
     WHERE (new.user_id <> '' OR new.workflow <> '' OR new.run <> '')
       AND EXISTS (SELECT 1 FROM postponing);
END;

CREATE TRIGGER a_finished_generation_is_added_up_by_name
AFTER INSERT ON generations
WHEN new.outcome IS NOT NULL AND (new.user_id <> '' OR new.workflow <> '' OR new.run <> '')
 AND NOT EXISTS (SELECT 1 FROM postponing)
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
