-- Classes of tokens that are priced by themselves where a provider says them. A line has all six counts, or, where each
-- would be 0, none; the chain covers them only where they are there (`ledger.chain`).
ALTER TABLE postings ADD COLUMN cache_write_1h_tokens INTEGER;
ALTER TABLE postings ADD COLUMN input_audio_tokens INTEGER;
ALTER TABLE postings ADD COLUMN cached_audio_tokens INTEGER;
ALTER TABLE postings ADD COLUMN input_image_tokens INTEGER;
ALTER TABLE postings ADD COLUMN output_audio_tokens INTEGER;
ALTER TABLE postings ADD COLUMN output_image_tokens INTEGER;

DROP TRIGGER a_line_is_added_up;
DROP TRIGGER a_correction_moves_what_it_corrects;
DROP VIEW lines_of_holds;

-- Each line with its totals: all that was read and written, of any class, and what came from the provider's cache. NULL:
-- nobody knows.
CREATE VIEW counted_lines AS
SELECT seq, hold_id, kind, cost_nanousd, cost_basis,
       input_tokens + cached_tokens + cache_write_tokens + COALESCE(cache_write_1h_tokens, 0)
           + COALESCE(input_audio_tokens, 0) + COALESCE(cached_audio_tokens, 0) + COALESCE(input_image_tokens, 0)
           AS prompt_tokens,
       output_tokens + reasoning_tokens + COALESCE(output_audio_tokens, 0) + COALESCE(output_image_tokens, 0)
           AS completion_tokens,
       cached_tokens + COALESCE(cached_audio_tokens, 0) AS cache_read_tokens,
       reasoning_tokens
  FROM postings;

-- Every line by its hold, by way of the two partial indexes.
CREATE VIEW lines_of_holds AS
SELECT hold_id, seq, kind, cost_nanousd, cost_basis, prompt_tokens, completion_tokens, cache_read_tokens, reasoning_tokens
  FROM counted_lines WHERE kind <> 'correction'
 UNION ALL
SELECT hold_id, seq, kind, cost_nanousd, cost_basis, prompt_tokens, completion_tokens, cache_read_tokens, reasoning_tokens
  FROM counted_lines WHERE kind = 'correction';

CREATE TRIGGER a_line_is_added_up
AFTER INSERT ON postings
BEGIN
    INSERT INTO spend_hours (hour_ms, deployment, route, key_id, team, basis, outcome,
                             cost_nanousd, attempts, prompt_tokens, completion_tokens, cached_tokens, reasoning_tokens)
    SELECT h.taken_at_ms - h.taken_at_ms % 3600000, h.deployment, g.route, g.key_id, g.team, new.cost_basis, h.outcome,
           new.cost_nanousd, new.kind <> 'correction',
           COALESCE(p.prompt_tokens, 0), COALESCE(p.completion_tokens, 0), COALESCE(p.cache_read_tokens, 0),
           COALESCE(p.reasoning_tokens, 0)
      FROM counted_lines AS p
      JOIN holds AS h USING (hold_id)
      JOIN generations AS g USING (generation_id)
     WHERE p.seq = new.seq
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
END;
