-- A line's names are looked up at once, and only where its call gave any: each answer pays for this.

DROP TRIGGER a_line_is_added_up_by_name;

CREATE TRIGGER a_line_is_added_up_by_name
AFTER INSERT ON postings
WHEN EXISTS (SELECT 1 FROM holds AS h JOIN generations AS g USING (generation_id)
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
