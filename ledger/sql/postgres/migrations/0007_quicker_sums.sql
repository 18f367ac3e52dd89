-- What a line or a call adds to the sums by the hour, in PL/pgSQL, whose plans are kept: a function in SQL is planned anew
-- by servers before 18. And a line says by itself what it used: looking for it among all lines cost more than the rest.
-- beside: 5

CREATE OR REPLACE FUNCTION add_to_hour(added spend_hours) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO spend_hours AS kept VALUES (added.*)
        ON CONFLICT (hour_ms, deployment, route, key_id, team, basis, outcome) DO UPDATE
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

CREATE OR REPLACE FUNCTION add_to_hour_of_name(added spend_hours_by_name) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
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
           reasoning_tokens = kept.reasoning_tokens + excluded.reasoning_tokens;
END $$;

CREATE OR REPLACE FUNCTION add_generation_to_hour(g generations, sign bigint) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM add_to_hour(ROW(g.created_at_ms - g.created_at_ms % 3600000, g.deployment, g.route, g.key_id, g.team,
                           COALESCE(g.cost_basis, 'unknown'), g.outcome,
                           0, sign * g.saved_nanousd, sign, 0, sign * CAST(g.cache = 'hit' AS integer),
                           sign * CAST(g.cache = 'coalesced' AS integer), 0, 0, 0, 0)::spend_hours);
END $$;

CREATE OR REPLACE FUNCTION add_generation_by_name(g generations, sign bigint) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM add_to_hour_of_name(ROW(named.dimension, g.created_at_ms - g.created_at_ms % 864000000, named.name,
                                   g.deployment, g.route, g.key_id, g.team, COALESCE(g.cost_basis, 'unknown'), g.outcome,
                                   g.created_at_ms - g.created_at_ms % 3600000,
                                   0, sign * g.saved_nanousd, sign, 0, sign * CAST(g.cache = 'hit' AS integer),
                                   sign * CAST(g.cache = 'coalesced' AS integer), 0, 0, 0, 0)::spend_hours_by_name)
      FROM (VALUES ('user', g.user_id), ('workflow', g.workflow), ('run', g.run)) AS named (dimension, name)
     WHERE named.name <> '';
END $$;

-- The tokens of one line, as `counted_lines` has them of all.
CREATE FUNCTION used_by(line postings, OUT prompt bigint, OUT completion bigint, OUT cached bigint, OUT reasoning bigint)
LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
    prompt := COALESCE(line.input_tokens + line.cached_tokens + line.cache_write_tokens
                       + COALESCE(line.cache_write_1h_tokens, 0) + COALESCE(line.input_audio_tokens, 0)
                       + COALESCE(line.cached_audio_tokens, 0) + COALESCE(line.input_image_tokens, 0), 0);
    completion := COALESCE(line.output_tokens + line.reasoning_tokens + COALESCE(line.output_audio_tokens, 0)
                           + COALESCE(line.output_image_tokens, 0), 0);
    cached := COALESCE(line.cached_tokens + COALESCE(line.cached_audio_tokens, 0), 0);
    reasoning := COALESCE(line.reasoning_tokens, 0);
END $$;

CREATE OR REPLACE FUNCTION add_up_a_line() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    h record;
    used record := used_by(new);
BEGIN
    SELECT taken_at_ms, deployment, generation_id, outcome INTO h FROM holds WHERE hold_id = new.hold_id;
    PERFORM add_to_hour(ROW(h.taken_at_ms - h.taken_at_ms % 3600000, h.deployment, g.route, g.key_id, g.team,
                            new.cost_basis, h.outcome, new.cost_nanousd, 0, 0,
                            CASE new.kind WHEN 'correction' THEN 0 ELSE 1 END, 0, 0, used.prompt, used.completion,
                            used.cached, used.reasoning)::spend_hours)
       FROM generations AS g
      WHERE g.generation_id = h.generation_id;
    RETURN NULL;
END $$;

CREATE OR REPLACE FUNCTION add_up_a_line_by_name() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    h record;
    used record := used_by(new);
BEGIN
    SELECT taken_at_ms, deployment, generation_id, outcome INTO h FROM holds WHERE hold_id = new.hold_id;
    PERFORM add_to_hour_of_name(ROW(g.dimension, h.taken_at_ms - h.taken_at_ms % 864000000, g.name, h.deployment, g.route,
                                    g.key_id, g.team, new.cost_basis, h.outcome, h.taken_at_ms - h.taken_at_ms % 3600000,
                                    new.cost_nanousd, 0, 0, CASE new.kind WHEN 'correction' THEN 0 ELSE 1 END, 0, 0,
                                    used.prompt, used.completion, used.cached, used.reasoning)::spend_hours_by_name)
       FROM named_generations AS g
      WHERE g.generation_id = h.generation_id;
    RETURN NULL;
END $$;
