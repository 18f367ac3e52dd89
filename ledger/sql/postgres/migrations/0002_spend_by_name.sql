-- Spend by user, workflow and run, added up by the hour. What the tables are for is said in sql/sqlite/schema.sql.

CREATE TABLE spend_hours_by_name (
    dimension text COLLATE "C" NOT NULL CHECK (dimension IN ('user', 'workflow', 'run')),
    period_ms bigint NOT NULL CHECK (period_ms = hour_ms - hour_ms % 864000000),
    name text COLLATE "C" NOT NULL CHECK (name <> ''),
    deployment text COLLATE "C" NOT NULL,
    route text COLLATE "C" NOT NULL,
    key_id text COLLATE "C" NOT NULL,
    team text COLLATE "C" NOT NULL,
    basis text COLLATE "C" NOT NULL,
    outcome text COLLATE "C" NOT NULL,
    hour_ms bigint NOT NULL,
    cost_nanousd bigint NOT NULL DEFAULT 0,
    saved_nanousd bigint NOT NULL DEFAULT 0,
    generations bigint NOT NULL DEFAULT 0,
    attempts bigint NOT NULL DEFAULT 0,
    cache_hits bigint NOT NULL DEFAULT 0,
    coalesced bigint NOT NULL DEFAULT 0,
    prompt_tokens bigint NOT NULL DEFAULT 0,
    completion_tokens bigint NOT NULL DEFAULT 0,
    cached_tokens bigint NOT NULL DEFAULT 0,
    reasoning_tokens bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (dimension, period_ms, name, deployment, route, key_id, team, basis, outcome, hour_ms)
);

CREATE VIEW named_generations AS
SELECT g.generation_id, g.created_at_ms, g.route, g.key_id, g.team, named.dimension, named.name
  FROM generations AS g
 CROSS JOIN LATERAL (VALUES ('user' COLLATE "C", g.user_id), ('workflow', g.workflow), ('run', g.run))
            AS named (dimension, name)
 WHERE named.name <> '';

CREATE VIEW named_spend AS
SELECT g.dimension, h.taken_at_ms - h.taken_at_ms % 3600000 AS hour_ms, g.name, h.deployment, g.route, g.key_id, g.team,
       COALESCE((SELECT c.cost_basis FROM postings AS c WHERE c.hold_id = h.hold_id AND c.kind = 'correction'
                  ORDER BY c.seq DESC LIMIT 1), p.cost_basis, 'free') AS basis,
       h.outcome, COALESCE(p.cost_nanousd, 0) AS cost_nanousd, CAST(0 AS bigint) AS saved_nanousd, 0 AS generations,
       1 AS attempts, 0 AS cache_hits, 0 AS coalesced, COALESCE(p.prompt_tokens, 0) AS prompt_tokens,
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
       COALESCE(g.cost_basis, 'unknown'), g.outcome, 0, g.saved_nanousd, 1, 0, CAST(g.cache = 'hit' AS integer),
       CAST(g.cache = 'coalesced' AS integer), 0, 0, 0, 0
  FROM generations AS g
  JOIN named_generations AS n USING (generation_id)
 WHERE g.outcome IS NOT NULL;

-- Adds one row's worth: what every sum below comes to in the end.
CREATE FUNCTION add_to_hour_of_name(added spend_hours_by_name) RETURNS void LANGUAGE sql AS $$
    INSERT INTO spend_hours_by_name AS kept VALUES (added.*)
        ON CONFLICT (dimension, period_ms, name, deployment, route, key_id, team, basis, outcome, hour_ms) DO UPDATE
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

CREATE FUNCTION add_up_a_hold_without_charge_by_name() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM add_to_hour_of_name(ROW(g.dimension, new.taken_at_ms - new.taken_at_ms % 864000000, g.name, new.deployment,
                                    g.route, g.key_id, g.team, 'free', new.outcome,
                                    new.taken_at_ms - new.taken_at_ms % 3600000,
                                    0, 0, 0, 1, 0, 0, 0, 0, 0, 0)::spend_hours_by_name)
       FROM named_generations AS g
      WHERE g.generation_id = new.generation_id;
    RETURN NULL;
END $$;

CREATE TRIGGER a_hold_without_charge_is_added_up_by_name
AFTER UPDATE OF state ON holds FOR EACH ROW WHEN (new.state = 'released')
EXECUTE FUNCTION add_up_a_hold_without_charge_by_name();

CREATE FUNCTION add_up_a_line_by_name() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM add_to_hour_of_name(ROW(g.dimension, h.taken_at_ms - h.taken_at_ms % 864000000, g.name, h.deployment, g.route,
                                    g.key_id, g.team, new.cost_basis, h.outcome,
                                    h.taken_at_ms - h.taken_at_ms % 3600000,
                                    new.cost_nanousd, 0, 0, CASE new.kind WHEN 'correction' THEN 0 ELSE 1 END, 0, 0,
                                    COALESCE(p.prompt_tokens, 0), COALESCE(p.completion_tokens, 0),
                                    COALESCE(p.cache_read_tokens, 0), COALESCE(p.reasoning_tokens, 0)
                                    )::spend_hours_by_name)
       FROM counted_lines AS p
       JOIN holds AS h USING (hold_id)
       JOIN named_generations AS g USING (generation_id)
      WHERE p.seq = new.seq;
    RETURN NULL;
END $$;

CREATE TRIGGER a_line_is_added_up_by_name
AFTER INSERT ON postings FOR EACH ROW EXECUTE FUNCTION add_up_a_line_by_name();

CREATE FUNCTION move_what_a_line_corrects_by_name() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM add_to_hour_of_name(ROW(g.dimension, h.taken_at_ms - h.taken_at_ms % 864000000, g.name, h.deployment, g.route,
                                    g.key_id, g.team, side.basis, h.outcome, h.taken_at_ms - h.taken_at_ms % 3600000,
                                    side.sign * before.cost_nanousd, 0, 0, side.sign, 0, 0,
                                    side.sign * before.prompt_tokens, side.sign * before.completion_tokens,
                                    side.sign * before.cached_tokens, side.sign * before.reasoning_tokens
                                    )::spend_hours_by_name)
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
      WHERE h.hold_id = new.hold_id;
    RETURN NULL;
END $$;

CREATE TRIGGER a_correction_moves_what_it_corrects_by_name
AFTER INSERT ON postings FOR EACH ROW WHEN (new.kind = 'correction')
EXECUTE FUNCTION move_what_a_line_corrects_by_name();

-- One generation in its hour of each of its names, `sign` times.
CREATE FUNCTION add_generation_by_name(g generations, sign bigint) RETURNS void LANGUAGE sql AS $$
    SELECT add_to_hour_of_name(ROW(named.dimension, g.created_at_ms - g.created_at_ms % 864000000, named.name,
                                   g.deployment, g.route, g.key_id, g.team, COALESCE(g.cost_basis, 'unknown'), g.outcome,
                                   g.created_at_ms - g.created_at_ms % 3600000,
                                   0, sign * g.saved_nanousd, sign, 0, sign * CAST(g.cache = 'hit' AS integer),
                                   sign * CAST(g.cache = 'coalesced' AS integer), 0, 0, 0, 0)::spend_hours_by_name)
      FROM (VALUES ('user', g.user_id), ('workflow', g.workflow), ('run', g.run)) AS named (dimension, name)
     WHERE named.name <> ''
$$;

CREATE FUNCTION add_up_a_generation_by_name() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM add_generation_by_name(new, 1);
    RETURN NULL;
END $$;

CREATE TRIGGER a_finished_generation_is_added_up_by_name
AFTER INSERT ON generations FOR EACH ROW WHEN (new.outcome IS NOT NULL)
EXECUTE FUNCTION add_up_a_generation_by_name();

CREATE TRIGGER an_ended_generation_is_added_up_by_name
AFTER UPDATE OF outcome ON generations FOR EACH ROW WHEN (new.outcome IS NOT NULL)
EXECUTE FUNCTION add_up_a_generation_by_name();

CREATE FUNCTION move_a_generation_told_again_by_name() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM add_generation_by_name(old, -1);
    RETURN NULL;
END $$;

CREATE TRIGGER a_generation_told_again_is_moved_by_name
AFTER UPDATE OF outcome ON generations FOR EACH ROW WHEN (old.outcome IS NOT NULL)
EXECUTE FUNCTION move_a_generation_told_again_by_name();

INSERT INTO spend_hours_by_name (dimension, period_ms, name, deployment, route, key_id, team, basis, outcome, hour_ms,
                                 cost_nanousd, saved_nanousd, generations, attempts, cache_hits, coalesced, prompt_tokens,
                                 completion_tokens, cached_tokens, reasoning_tokens)
SELECT dimension, hour_ms - hour_ms % 864000000, name, deployment, route, key_id, team, basis, outcome, hour_ms,
       SUM(cost_nanousd), SUM(saved_nanousd), SUM(generations), SUM(attempts), SUM(cache_hits), SUM(coalesced),
       SUM(prompt_tokens), SUM(completion_tokens), SUM(cached_tokens), SUM(reasoning_tokens)
  FROM named_spend
 GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9, 10;
