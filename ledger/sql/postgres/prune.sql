-- name: next_lines
SELECT p.seq, p.hold_id, (SELECT MAX(c.seq) FROM postings AS c WHERE c.hold_id = p.hold_id) AS last_of_hold,
       h.state <> 'held' AND h.taken_at_ms < :before_ms AND h.closed_at_ms < :before_ms AND p.posted_at_ms < :before_ms
           AND g.outcome IS NOT NULL AND g.created_at_ms < :before_ms
           AND NOT EXISTS (SELECT 1 FROM hold_windows AS link JOIN ceiling_windows AS w USING (ceiling_id, starts_at_ms)
                            WHERE link.hold_id = p.hold_id AND w.ends_at_ms > :now_ms) AS may_go
  FROM postings AS p
  JOIN holds AS h ON h.hold_id = p.hold_id
  JOIN generations AS g ON g.generation_id = h.generation_id
 WHERE p.seq > :after_seq
 ORDER BY p.seq
 LIMIT :most;

-- name: close_lines
INSERT INTO closings (through_seq, chain, postings, cost_nanousd, before_ms, closed_at_ms)
SELECT CAST(:through_seq AS bigint),
       (SELECT chain FROM postings WHERE seq = :through_seq),
       (SELECT COALESCE(MAX(postings), 0) FROM closings) + COUNT(*),
       COALESCE((SELECT cost_nanousd FROM closings ORDER BY through_seq DESC LIMIT 1), 0) + SUM(cost_nanousd),
       GREATEST(CAST(:before_ms AS bigint), (SELECT MAX(before_ms) FROM closings)),
       CAST(:now_ms AS bigint)
  FROM postings
 WHERE seq <= :through_seq;

-- name: fold_windows
UPDATE ceiling_windows
   SET folded_amount = folded_amount + CASE counts WHEN 'tokens' THEN part.tokens ELSE part.cost_nanousd END,
       excused_amount = excused_amount + CASE counts WHEN 'tokens' THEN part.unasked_tokens ELSE part.unasked_nanousd END
  FROM (SELECT link.ceiling_id, link.starts_at_ms, SUM(p.cost_nanousd) AS cost_nanousd, SUM(p.tokens) AS tokens,
               SUM(CASE p.kind WHEN 'correction' THEN GREATEST(p.cost_nanousd, 0) ELSE p.overrun_nanousd END)
                   AS unasked_nanousd,
               SUM(GREATEST(CASE p.kind WHEN 'correction' THEN p.tokens ELSE p.tokens - h.held_tokens END, 0))
                   AS unasked_tokens
          FROM postings AS p
          JOIN holds AS h ON h.hold_id = p.hold_id
          JOIN hold_windows AS link ON link.hold_id = p.hold_id
         WHERE p.seq <= :through_seq
         GROUP BY link.ceiling_id, link.starts_at_ms) AS part
 WHERE ceiling_windows.ceiling_id = part.ceiling_id AND ceiling_windows.starts_at_ms = part.starts_at_ms
   AND ceiling_windows.counts IN ('nanousd', 'tokens');

-- name: fold_call
UPDATE ceiling_windows
   SET folded_amount = folded_amount
       + CASE WHEN CASE counts WHEN 'attempts' THEN h.state <> 'released' OR h.status IS NOT NULL ELSE h.attempt = 1 END
         THEN 1 ELSE 0 END
  FROM hold_windows AS link
  JOIN holds AS h ON h.hold_id = link.hold_id
 WHERE link.hold_id = :hold_id
   AND ceiling_windows.ceiling_id = link.ceiling_id AND ceiling_windows.starts_at_ms = link.starts_at_ms
   AND ceiling_windows.counts IN ('calls', 'attempts');

-- name: fold_scopes
INSERT INTO folded_months AS kept (scope, month_ms, nanousd, tokens, calls, attempts)
SELECT scopes.scope, month_of(h.taken_at_ms, 0),
       (SELECT CAST(COALESCE(SUM(p.cost_nanousd), 0) AS bigint) FROM postings AS p WHERE p.hold_id = :hold_id),
       (SELECT CAST(COALESCE(SUM(p.tokens), 0) AS bigint) FROM postings AS p WHERE p.hold_id = :hold_id),
       CAST(h.attempt = 1 AS integer), CAST(h.state <> 'released' OR h.status IS NOT NULL AS integer)
  FROM holds AS h
  JOIN generations AS g ON g.generation_id = h.generation_id
 CROSS JOIN LATERAL scopes_of(h.deployment, g.key_id, g.team, g.user_id, g.workflow, g.run) AS scopes (scope)
 WHERE h.hold_id = :hold_id
    ON CONFLICT (scope, month_ms) DO UPDATE
   SET nanousd = kept.nanousd + excluded.nanousd, tokens = kept.tokens + excluded.tokens,
       calls = kept.calls + excluded.calls, attempts = kept.attempts + excluded.attempts;
