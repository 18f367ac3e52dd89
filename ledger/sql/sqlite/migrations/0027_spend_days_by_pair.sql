-- Spend by user and workflow together, added up by the day.

-- Of which calls the sums by the day of users and workflows together are: of those that came in [since_ms, until_ms), and
-- of attempts by the moment of their hold. Whoever keeps the ledger moves until_ms on, from the first call there ever was
-- (`ledger.operations.pairs`); what is told later of a call that is in it, the triggers below add. since_ms is a full day:
-- where detail before it was folded, no sum could be proved any more.
CREATE TABLE pairs_added_up (
    id INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
    since_ms INTEGER NOT NULL CHECK (since_ms % 86400000 = 0),
    until_ms INTEGER NOT NULL CHECK (until_ms >= since_ms)
) STRICT;

-- These sums: so that a report on one user by workflow, or the other way round, does not count call by call. Calls that
-- named one of them or none are here as well ('' then): a report is made of these sums alone, and of what came since. Not
-- of runs: a run is short, so that a report on it reads few calls. Periods as in spend_hours_by_name. A row of a day before
-- since_ms says nothing.
CREATE TABLE spend_days_by_pair (
    period_ms INTEGER NOT NULL CHECK (period_ms = day_ms - day_ms % 864000000),
    user_id TEXT NOT NULL,
    workflow TEXT NOT NULL,
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
    PRIMARY KEY (period_ms, user_id, workflow, deployment, route, key_id, team, basis, outcome, day_ms)
) STRICT, WITHOUT ROWID;

-- What they are made of: every closed attempt, correction and ended call, at its own moment.
CREATE VIEW closed_spend AS
SELECT h.taken_at_ms AS at_ms, h.deployment, g.route, g.key_id, g.team, g.user_id, g.workflow,
       COALESCE((SELECT c.cost_basis FROM postings AS c WHERE c.hold_id = h.hold_id AND c.kind = 'correction'
                  ORDER BY c.seq DESC LIMIT 1), p.cost_basis, 'free') AS basis,
       h.outcome, COALESCE(p.cost_nanousd, 0) AS cost_nanousd, 0 AS saved_nanousd, 0 AS generations, 1 AS attempts,
       0 AS cache_hits, 0 AS coalesced, COALESCE(p.prompt_tokens, 0) AS prompt_tokens,
       COALESCE(p.completion_tokens, 0) AS completion_tokens, COALESCE(p.cache_read_tokens, 0) AS cached_tokens,
       COALESCE(p.reasoning_tokens, 0) AS reasoning_tokens
  FROM holds AS h
  JOIN generations AS g USING (generation_id)
  LEFT JOIN counted_lines AS p ON p.hold_id = h.hold_id AND p.kind <> 'correction'
 WHERE h.state <> 'held'
 UNION ALL
SELECT h.taken_at_ms, h.deployment, g.route, g.key_id, g.team, g.user_id, g.workflow,
       (SELECT c.cost_basis FROM postings AS c WHERE c.hold_id = h.hold_id AND c.kind = 'correction'
         ORDER BY c.seq DESC LIMIT 1),
       h.outcome, p.cost_nanousd, 0, 0, 0, 0, 0, COALESCE(p.prompt_tokens, 0), COALESCE(p.completion_tokens, 0),
       COALESCE(p.cache_read_tokens, 0), COALESCE(p.reasoning_tokens, 0)
  FROM holds AS h
  JOIN generations AS g USING (generation_id)
  JOIN counted_lines AS p ON p.hold_id = h.hold_id AND p.kind = 'correction'
 UNION ALL
SELECT g.created_at_ms, g.deployment, g.route, g.key_id, g.team, g.user_id, g.workflow,
       COALESCE(g.cost_basis, 'unknown'), g.outcome, 0, g.saved_nanousd, 1, 0, g.cache = 'hit', g.cache = 'coalesced',
       0, 0, 0, 0
  FROM generations AS g
 WHERE g.outcome IS NOT NULL;

-- What is inserted there is added to its day. NULL: 0.
CREATE TRIGGER what_is_told_late_is_added_up_by_pair
INSTEAD OF INSERT ON closed_spend
BEGIN
    INSERT INTO spend_days_by_pair (period_ms, user_id, workflow, deployment, route, key_id, team, basis, outcome,
                                    day_ms, cost_nanousd, saved_nanousd, generations, attempts, cache_hits, coalesced,
                                    prompt_tokens, completion_tokens, cached_tokens, reasoning_tokens)
    VALUES (new.at_ms - new.at_ms % 864000000, new.user_id, new.workflow, new.deployment, new.route, new.key_id, new.team,
            new.basis, new.outcome, new.at_ms - new.at_ms % 86400000, COALESCE(new.cost_nanousd, 0),
            COALESCE(new.saved_nanousd, 0), COALESCE(new.generations, 0), COALESCE(new.attempts, 0),
            COALESCE(new.cache_hits, 0), COALESCE(new.coalesced, 0), COALESCE(new.prompt_tokens, 0),
            COALESCE(new.completion_tokens, 0), COALESCE(new.cached_tokens, 0), COALESCE(new.reasoning_tokens, 0))
        ON CONFLICT (period_ms, user_id, workflow, deployment, route, key_id, team, basis, outcome, day_ms) DO UPDATE
       SET cost_nanousd = cost_nanousd + excluded.cost_nanousd, saved_nanousd = saved_nanousd + excluded.saved_nanousd,
           generations = generations + excluded.generations, attempts = attempts + excluded.attempts,
           cache_hits = cache_hits + excluded.cache_hits, coalesced = coalesced + excluded.coalesced,
           prompt_tokens = prompt_tokens + excluded.prompt_tokens,
           completion_tokens = completion_tokens + excluded.completion_tokens,
           cached_tokens = cached_tokens + excluded.cached_tokens,
           reasoning_tokens = reasoning_tokens + excluded.reasoning_tokens;
END;

-- What is told late, of a call that is in the sums, is told by rules that there are: one of its own is a program more at
-- every call.
DROP TRIGGER a_hold_without_charge_is_added_up;
DROP TRIGGER a_correction_moves_what_it_corrects;
DROP TRIGGER a_generation_told_again_is_moved;
DROP TRIGGER a_finished_generation_is_added_up;

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
    INSERT INTO closed_spend (at_ms, deployment, route, key_id, team, user_id, workflow, basis, outcome, attempts)
    SELECT new.taken_at_ms, new.deployment, g.route, g.key_id, g.team, g.user_id, g.workflow, 'free', new.outcome, 1
      FROM generations AS g
     WHERE g.generation_id = new.generation_id AND new.taken_at_ms < (SELECT until_ms FROM pairs_added_up)
       AND new.taken_at_ms >= (SELECT since_ms FROM pairs_added_up);
END;

-- What an attempt cost before is as sure as its newest line is. And a line that is told late is added up by pair.
CREATE TRIGGER a_correction_moves_what_it_corrects
AFTER INSERT ON postings
WHEN new.kind = 'correction'
  OR EXISTS (SELECT 1 FROM holds AS h, pairs_added_up AS kept
              WHERE h.hold_id = new.hold_id AND h.taken_at_ms < kept.until_ms AND h.taken_at_ms >= kept.since_ms)
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
     WHERE h.hold_id = new.hold_id AND new.kind = 'correction'
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
     WHERE h.hold_id = new.hold_id AND new.kind = 'correction'
        ON CONFLICT (dimension, period_ms, name, deployment, route, key_id, team, basis, outcome, hour_ms) DO UPDATE
       SET cost_nanousd = cost_nanousd + excluded.cost_nanousd, attempts = attempts + excluded.attempts,
           prompt_tokens = prompt_tokens + excluded.prompt_tokens,
           completion_tokens = completion_tokens + excluded.completion_tokens,
           cached_tokens = cached_tokens + excluded.cached_tokens,
           reasoning_tokens = reasoning_tokens + excluded.reasoning_tokens;
    INSERT INTO closed_spend (at_ms, deployment, route, key_id, team, user_id, workflow, basis, outcome,
                              cost_nanousd, attempts, prompt_tokens, completion_tokens, cached_tokens, reasoning_tokens)
    SELECT h.taken_at_ms, h.deployment, g.route, g.key_id, g.team, g.user_id, g.workflow, new.cost_basis, h.outcome,
           new.cost_nanousd, new.kind <> 'correction', p.prompt_tokens, p.completion_tokens, p.cache_read_tokens,
           p.reasoning_tokens
      FROM counted_lines AS p
      JOIN holds AS h USING (hold_id)
      JOIN generations AS g USING (generation_id)
      JOIN pairs_added_up AS kept ON h.taken_at_ms < kept.until_ms AND h.taken_at_ms >= kept.since_ms
     WHERE p.seq = new.seq;
    INSERT INTO closed_spend (at_ms, deployment, route, key_id, team, user_id, workflow, basis, outcome,
                              cost_nanousd, attempts, prompt_tokens, completion_tokens, cached_tokens, reasoning_tokens)
    SELECT h.taken_at_ms, h.deployment, g.route, g.key_id, g.team, g.user_id, g.workflow, side.basis, h.outcome,
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
      JOIN pairs_added_up AS kept ON h.taken_at_ms < kept.until_ms AND h.taken_at_ms >= kept.since_ms
     WHERE h.hold_id = new.hold_id AND new.kind = 'correction';
END;

-- A lost generation whose process was only late is told again. And one that ends late is added up by pair.
CREATE TRIGGER a_generation_told_again_is_moved
AFTER UPDATE OF outcome ON generations
WHEN old.outcome IS NOT NULL
  OR new.created_at_ms < (SELECT until_ms FROM pairs_added_up)
     AND new.created_at_ms >= (SELECT since_ms FROM pairs_added_up)
BEGIN
    INSERT INTO spend_hours (hour_ms, deployment, route, key_id, team, basis, outcome,
                             saved_nanousd, generations, cache_hits, coalesced)
    SELECT old.created_at_ms - old.created_at_ms % 3600000, old.deployment, old.route, old.key_id, old.team,
           COALESCE(old.cost_basis, 'unknown'), old.outcome,
           -old.saved_nanousd, -1, -(old.cache = 'hit'), -(old.cache = 'coalesced')
     WHERE old.outcome IS NOT NULL
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
     WHERE named.name <> '' AND old.outcome IS NOT NULL
        ON CONFLICT (dimension, period_ms, name, deployment, route, key_id, team, basis, outcome, hour_ms) DO UPDATE
       SET saved_nanousd = saved_nanousd + excluded.saved_nanousd, generations = generations + excluded.generations,
           cache_hits = cache_hits + excluded.cache_hits, coalesced = coalesced + excluded.coalesced;
    INSERT INTO closed_spend (at_ms, deployment, route, key_id, team, user_id, workflow, basis, outcome,
                              saved_nanousd, generations, cache_hits, coalesced)
    SELECT new.created_at_ms, new.deployment, new.route, new.key_id, new.team, new.user_id, new.workflow,
           COALESCE(new.cost_basis, 'unknown'), new.outcome,
           new.saved_nanousd, 1, (new.cache = 'hit'), (new.cache = 'coalesced')
     WHERE new.outcome IS NOT NULL
       AND new.created_at_ms < (SELECT until_ms FROM pairs_added_up)
       AND new.created_at_ms >= (SELECT since_ms FROM pairs_added_up);
    INSERT INTO closed_spend (at_ms, deployment, route, key_id, team, user_id, workflow, basis, outcome,
                              saved_nanousd, generations, cache_hits, coalesced)
    SELECT old.created_at_ms, old.deployment, old.route, old.key_id, old.team, old.user_id, old.workflow,
           COALESCE(old.cost_basis, 'unknown'), old.outcome,
           -old.saved_nanousd, -1, -(old.cache = 'hit'), -(old.cache = 'coalesced')
     WHERE old.outcome IS NOT NULL
       AND new.created_at_ms < (SELECT until_ms FROM pairs_added_up)
       AND new.created_at_ms >= (SELECT since_ms FROM pairs_added_up);
END;

-- Each hit pays for this: as few programs as can be. So this is also the rule for one that is told late; what it is added to by
-- the hour, and by name, is the next one's to say if it named any.
CREATE TRIGGER a_finished_generation_is_added_up
AFTER INSERT ON generations
WHEN new.outcome IS NOT NULL
 AND (new.user_id = '' AND new.workflow = '' AND new.run = '' OR EXISTS (SELECT 1 FROM postponing)
      OR new.created_at_ms < (SELECT until_ms FROM pairs_added_up)
         AND new.created_at_ms >= (SELECT since_ms FROM pairs_added_up))
BEGIN
    INSERT INTO spend_hours (hour_ms, deployment, route, key_id, team, basis, outcome,
                             saved_nanousd, generations, cache_hits, coalesced)
    SELECT new.created_at_ms - new.created_at_ms % 3600000, new.deployment, new.route, new.key_id, new.team,
           COALESCE(new.cost_basis, 'unknown'), new.outcome,
           new.saved_nanousd, 1, (new.cache = 'hit'), (new.cache = 'coalesced')
     WHERE new.user_id = '' AND new.workflow = '' AND new.run = '' OR EXISTS (SELECT 1 FROM postponing)
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
    INSERT INTO closed_spend (at_ms, deployment, route, key_id, team, user_id, workflow, basis, outcome,
                              saved_nanousd, generations, cache_hits, coalesced)
    SELECT new.created_at_ms, new.deployment, new.route, new.key_id, new.team, new.user_id, new.workflow,
           COALESCE(new.cost_basis, 'unknown'), new.outcome,
           new.saved_nanousd, 1, (new.cache = 'hit'), (new.cache = 'coalesced')
     WHERE new.created_at_ms < (SELECT until_ms FROM pairs_added_up)
       AND new.created_at_ms >= (SELECT since_ms FROM pairs_added_up);
END;

-- A day of which some detail goes is told from what is left of it.
CREATE TRIGGER what_a_closing_stands_for_is_no_longer_added_up_by_pair
AFTER INSERT ON closings
BEGIN
    UPDATE pairs_added_up
       SET since_ms = MAX(since_ms, (new.before_ms + 86399999) / 86400000 * 86400000),
           until_ms = MAX(until_ms, (new.before_ms + 86399999) / 86400000 * 86400000);
END;

INSERT INTO pairs_added_up (id, since_ms, until_ms)
SELECT 1, before_ms, before_ms
  FROM (SELECT (COALESCE(MAX(before_ms), 0) + 86399999) / 86400000 * 86400000 AS before_ms FROM closings);
