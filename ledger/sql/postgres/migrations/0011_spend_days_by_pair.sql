-- Spend by user and workflow together, added up by the day. What the tables are for is said in sql/sqlite/schema.sql.
-- beside: 9
-- Nothing is added up here: replicas do so afterwards, from the first call on, and until they have, reports count its calls.
-- What older code tells of a call that is in the sums, the rules below add, which are the ones that add it up by the hour.

CREATE TABLE pairs_added_up (
    id bigint NOT NULL PRIMARY KEY CHECK (id = 1),
    since_ms bigint NOT NULL CHECK (since_ms % 86400000 = 0),
    until_ms bigint NOT NULL CHECK (until_ms >= since_ms)
) WITH (fillfactor = 10);

CREATE TABLE spend_days_by_pair (
    period_ms bigint NOT NULL CHECK (period_ms = day_ms - day_ms % 864000000),
    user_id text COLLATE "C" NOT NULL,
    workflow text COLLATE "C" NOT NULL,
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
    PRIMARY KEY (period_ms, user_id, workflow, deployment, route, key_id, team, basis, outcome, day_ms)
);

CREATE VIEW closed_spend AS
SELECT h.taken_at_ms AS at_ms, h.deployment, g.route, g.key_id, g.team, g.user_id, g.workflow,
       COALESCE((SELECT c.cost_basis FROM postings AS c WHERE c.hold_id = h.hold_id AND c.kind = 'correction'
                  ORDER BY c.seq DESC LIMIT 1), p.cost_basis, 'free') AS basis,
       h.outcome, COALESCE(p.cost_nanousd, 0) AS cost_nanousd, CAST(0 AS bigint) AS saved_nanousd, 0 AS generations,
       1 AS attempts, 0 AS cache_hits, 0 AS coalesced, COALESCE(p.prompt_tokens, 0) AS prompt_tokens,
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
       COALESCE(g.cost_basis, 'unknown'), g.outcome, 0, g.saved_nanousd, 1, 0, CAST(g.cache = 'hit' AS integer),
       CAST(g.cache = 'coalesced' AS integer), 0, 0, 0, 0
  FROM generations AS g
 WHERE g.outcome IS NOT NULL;

-- The next calls to be added up: see next_part in sql/sqlite/pairs.sql. Of a part of a large table along its indexes,
-- whatever the server knows of it; with a plan that is made for any part, it would read all of it.
CREATE FUNCTION next_part_of_pairs(most bigint, OUT from_ms bigint, OUT first_call_ms bigint, OUT first_attempt_ms bigint,
                                   OUT next_call_ms bigint, OUT next_attempt_ms bigint)
LANGUAGE plpgsql
SET plan_cache_mode = force_custom_plan SET enable_seqscan = off SET enable_sort = off SET jit = off AS $$
BEGIN
    SELECT until_ms INTO from_ms FROM pairs_added_up;
    first_call_ms := (SELECT created_at_ms FROM generations WHERE created_at_ms >= from_ms ORDER BY created_at_ms LIMIT 1);
    first_attempt_ms := (SELECT taken_at_ms FROM holds WHERE taken_at_ms >= from_ms ORDER BY taken_at_ms LIMIT 1);
    next_call_ms := (SELECT created_at_ms FROM generations WHERE created_at_ms >= from_ms
                      ORDER BY created_at_ms LIMIT 1 OFFSET most);
    next_attempt_ms := (SELECT taken_at_ms FROM holds WHERE taken_at_ms >= from_ms
                         ORDER BY taken_at_ms LIMIT 1 OFFSET most);
END $$;

CREATE FUNCTION spend_of_pairs(part_since_ms bigint, part_until_ms bigint) RETURNS SETOF spend_days_by_pair
LANGUAGE plpgsql STABLE
SET plan_cache_mode = force_custom_plan SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off
SET jit = off AS $$
BEGIN
    RETURN QUERY
    SELECT at_ms - at_ms % 864000000, closed.user_id, closed.workflow, closed.deployment, closed.route, closed.key_id,
           closed.team, closed.basis, closed.outcome, at_ms - at_ms % 86400000, CAST(SUM(closed.cost_nanousd) AS bigint),
           CAST(SUM(closed.saved_nanousd) AS bigint), SUM(closed.generations), SUM(closed.attempts),
           SUM(closed.cache_hits), SUM(closed.coalesced), CAST(SUM(closed.prompt_tokens) AS bigint),
           CAST(SUM(closed.completion_tokens) AS bigint), CAST(SUM(closed.cached_tokens) AS bigint),
           CAST(SUM(closed.reasoning_tokens) AS bigint)
      FROM closed_spend AS closed
     WHERE at_ms >= part_since_ms AND at_ms < part_until_ms
     GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9, 10;
END $$;

-- What is told late, of a call that is in the sums.

CREATE FUNCTION is_added_up_by_pair(at_ms bigint) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    RETURN EXISTS (SELECT 1 FROM pairs_added_up AS kept WHERE at_ms < kept.until_ms AND at_ms >= kept.since_ms);
END $$;

CREATE FUNCTION add_to_day_of_pair(added spend_days_by_pair) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO spend_days_by_pair AS kept VALUES (added.*)
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
END $$;

CREATE OR REPLACE FUNCTION add_up_a_hold_without_charge() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    g record;
BEGIN
    SELECT route, key_id, team, user_id, workflow INTO g FROM generations WHERE generation_id = new.generation_id;
    PERFORM add_to_hour(ROW(new.taken_at_ms - new.taken_at_ms % 3600000, new.deployment, g.route, g.key_id, g.team, 'free',
                            new.outcome, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0)::spend_hours);
    IF is_added_up_by_pair(new.taken_at_ms) THEN
        PERFORM add_to_day_of_pair(ROW(new.taken_at_ms - new.taken_at_ms % 864000000, g.user_id, g.workflow,
                                       new.deployment, g.route, g.key_id, g.team, 'free', new.outcome,
                                       new.taken_at_ms - new.taken_at_ms % 86400000,
                                       0, 0, 0, 1, 0, 0, 0, 0, 0, 0)::spend_days_by_pair);
    END IF;
    RETURN NULL;
END $$;

CREATE OR REPLACE FUNCTION add_up_a_line() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    h record;
    g record;
    used record := used_by(new);
    attempts bigint := CASE new.kind WHEN 'correction' THEN 0 ELSE 1 END;
BEGIN
    SELECT taken_at_ms, deployment, generation_id, outcome INTO h FROM holds WHERE hold_id = new.hold_id;
    SELECT route, key_id, team, user_id, workflow INTO g FROM generations WHERE generation_id = h.generation_id;
    PERFORM add_to_hour(ROW(h.taken_at_ms - h.taken_at_ms % 3600000, h.deployment, g.route, g.key_id, g.team,
                            new.cost_basis, h.outcome, new.cost_nanousd, 0, 0, attempts, 0, 0, used.prompt,
                            used.completion, used.cached, used.reasoning)::spend_hours);
    IF is_added_up_by_pair(h.taken_at_ms) THEN
        PERFORM add_to_day_of_pair(ROW(h.taken_at_ms - h.taken_at_ms % 864000000, g.user_id, g.workflow, h.deployment,
                                       g.route, g.key_id, g.team, new.cost_basis, h.outcome,
                                       h.taken_at_ms - h.taken_at_ms % 86400000, new.cost_nanousd, 0, 0, attempts, 0, 0,
                                       used.prompt, used.completion, used.cached, used.reasoning)::spend_days_by_pair);
    END IF;
    RETURN NULL;
END $$;

CREATE OR REPLACE FUNCTION add_generation_to_hour(g generations, sign bigint) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM add_to_hour(ROW(g.created_at_ms - g.created_at_ms % 3600000, g.deployment, g.route, g.key_id, g.team,
                           COALESCE(g.cost_basis, 'unknown'), g.outcome,
                           0, sign * g.saved_nanousd, sign, 0, sign * CAST(g.cache = 'hit' AS integer),
                           sign * CAST(g.cache = 'coalesced' AS integer), 0, 0, 0, 0)::spend_hours);
    IF is_added_up_by_pair(g.created_at_ms) THEN
        PERFORM add_to_day_of_pair(ROW(g.created_at_ms - g.created_at_ms % 864000000, g.user_id, g.workflow, g.deployment,
                                       g.route, g.key_id, g.team, COALESCE(g.cost_basis, 'unknown'), g.outcome,
                                       g.created_at_ms - g.created_at_ms % 86400000,
                                       0, sign * g.saved_nanousd, sign, 0, sign * CAST(g.cache = 'hit' AS integer),
                                       sign * CAST(g.cache = 'coalesced' AS integer), 0, 0, 0, 0)::spend_days_by_pair);
    END IF;
END $$;

CREATE OR REPLACE FUNCTION move_what_a_line_corrects() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    h record;
    g record;
    side record;
BEGIN
    SELECT taken_at_ms, deployment, generation_id, outcome INTO h FROM holds WHERE hold_id = new.hold_id;
    SELECT route, key_id, team, user_id, workflow INTO g FROM generations WHERE generation_id = h.generation_id;
    FOR side IN
        SELECT of_each.basis, of_each.sign AS attempts, of_each.sign * before.cost_nanousd AS cost_nanousd,
               of_each.sign * before.prompt_tokens AS prompt, of_each.sign * before.completion_tokens AS completion,
               of_each.sign * before.cached_tokens AS cached, of_each.sign * before.reasoning_tokens AS reasoning
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
                SELECT 1, new.cost_basis) AS of_each
    LOOP
        PERFORM add_to_hour(ROW(h.taken_at_ms - h.taken_at_ms % 3600000, h.deployment, g.route, g.key_id, g.team,
                                side.basis, h.outcome, side.cost_nanousd, 0, 0, side.attempts, 0, 0, side.prompt,
                                side.completion, side.cached, side.reasoning)::spend_hours);
        IF is_added_up_by_pair(h.taken_at_ms) THEN
            PERFORM add_to_day_of_pair(ROW(h.taken_at_ms - h.taken_at_ms % 864000000, g.user_id, g.workflow, h.deployment,
                                           g.route, g.key_id, g.team, side.basis, h.outcome,
                                           h.taken_at_ms - h.taken_at_ms % 86400000, side.cost_nanousd, 0, 0, side.attempts,
                                           0, 0, side.prompt, side.completion, side.cached, side.reasoning
                                           )::spend_days_by_pair);
        END IF;
    END LOOP;
    RETURN NULL;
END $$;

CREATE FUNCTION add_up_fewer_pairs() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    first_ms bigint := (new.before_ms + 86399999) / 86400000 * 86400000;
BEGIN
    UPDATE pairs_added_up SET since_ms = GREATEST(since_ms, first_ms), until_ms = GREATEST(until_ms, first_ms);
    RETURN NULL;
END $$;

-- Not before its transaction ends, in its turn: a month is added up for a closing for half a minute, and nobody is to wait.
CREATE CONSTRAINT TRIGGER what_a_closing_stands_for_is_no_longer_added_up_by_pair
AFTER INSERT ON closings DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION add_up_fewer_pairs();

INSERT INTO pairs_added_up (id, since_ms, until_ms)
SELECT 1, before_ms, before_ms
  FROM (SELECT (COALESCE(MAX(before_ms), 0) + 86399999) / 86400000 * 86400000 AS before_ms FROM closings) AS folded;
