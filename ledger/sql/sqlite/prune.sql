-- name: next_lines
-- The first :most lines that are there, with the hold and the last line of each one's hold, and whether it may go: its
-- attempt is closed and before the moment, its call is over, and every window that counts it has ended (`total` never
-- does: its folded part is kept).
SELECT p.seq, p.hold_id,
       MAX(p.seq, COALESCE((SELECT MAX(c.seq) FROM postings AS c WHERE c.hold_id = p.hold_id AND c.kind = 'correction'), 0))
           AS last_of_hold,
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

-- name: last_seq
SELECT COALESCE(MAX(seq), 0) FROM postings;

-- name: close_lines
-- The balance of all lines up to :through_seq, those that were folded before included.
INSERT INTO closings (through_seq, chain, postings, cost_nanousd, before_ms, closed_at_ms)
SELECT :through_seq,
       (SELECT chain FROM postings WHERE seq = :through_seq),
       (SELECT COALESCE(MAX(postings), 0) FROM closings) + COUNT(*),
       COALESCE((SELECT cost_nanousd FROM closings ORDER BY through_seq DESC LIMIT 1), 0) + SUM(cost_nanousd),
       MAX(:before_ms, COALESCE((SELECT MAX(before_ms) FROM closings), 0)),
       :now_ms
  FROM postings
 WHERE seq <= :through_seq;

-- name: fold_windows
-- What the windows keep of the lines that go. What came without being admitted stays excused, to the last nano-dollar
-- and token.
UPDATE ceiling_windows
   SET folded_amount = folded_amount + CASE counts WHEN 'tokens' THEN part.tokens ELSE part.cost_nanousd END,
       excused_amount = excused_amount + CASE counts WHEN 'tokens' THEN part.unasked_tokens ELSE part.unasked_nanousd END
  FROM (SELECT link.ceiling_id, link.starts_at_ms, SUM(p.cost_nanousd) AS cost_nanousd, SUM(p.tokens) AS tokens,
               SUM(CASE p.kind WHEN 'correction' THEN MAX(p.cost_nanousd, 0) ELSE p.overrun_nanousd END)
                   AS unasked_nanousd,
               SUM(MAX(CASE p.kind WHEN 'correction' THEN p.tokens ELSE p.tokens - h.held_tokens END, 0))
                   AS unasked_tokens
          FROM postings AS p
         CROSS JOIN holds AS h ON h.hold_id = p.hold_id
         CROSS JOIN hold_windows AS link ON link.hold_id = p.hold_id
         WHERE p.seq <= :through_seq
         GROUP BY link.ceiling_id, link.starts_at_ms) AS part
 WHERE ceiling_windows.ceiling_id = part.ceiling_id AND ceiling_windows.starts_at_ms = part.starts_at_ms
   AND ceiling_windows.counts IN ('nanousd', 'tokens');

-- name: fold_call
-- What the windows that count calls or attempts keep of an attempt that goes.
UPDATE ceiling_windows
   SET folded_amount = folded_amount + CASE counts WHEN 'attempts' THEN h.state <> 'released' OR h.status IS NOT NULL
                                                   ELSE h.attempt = 1 END
  FROM hold_windows AS link
  JOIN holds AS h ON h.hold_id = link.hold_id
 WHERE link.hold_id = :hold_id
   AND ceiling_windows.ceiling_id = link.ceiling_id AND ceiling_windows.starts_at_ms = link.starts_at_ms
   AND ceiling_windows.counts IN ('calls', 'attempts');

-- name: fold_scopes
-- What the scopes of an attempt that goes keep of it, with all of its lines: before any of these goes. Names are written
-- into scopes as `ledger.ceilings.scopes_of` does.
INSERT INTO folded_months (scope, month_ms, nanousd, tokens, calls, attempts)
WITH gone AS MATERIALIZED (
    SELECT h.deployment, g.key_id, g.team, g.user_id, g.workflow, g.run,
           CAST(strftime('%s', h.taken_at_ms / 1000, 'unixepoch', 'start of month') AS INTEGER) * 1000 AS month_ms,
           (SELECT COALESCE(SUM(cost_nanousd), 0) FROM lines_of_holds WHERE hold_id = :hold_id) AS nanousd,
           (SELECT COALESCE(SUM(tokens), 0) FROM postings WHERE hold_id = :hold_id AND kind <> 'correction')
           + (SELECT COALESCE(SUM(tokens), 0) FROM postings WHERE hold_id = :hold_id AND kind = 'correction') AS tokens,
           h.attempt = 1 AS calls, h.state <> 'released' OR h.status IS NOT NULL AS attempts
      FROM holds AS h
      JOIN generations AS g ON g.generation_id = h.generation_id
     WHERE h.hold_id = :hold_id
), named (kind, name) AS (
    SELECT 'key', key_id FROM gone
     UNION ALL SELECT 'team', team FROM gone
     UNION ALL SELECT 'user', user_id FROM gone
     UNION ALL SELECT 'workflow', workflow FROM gone
     UNION ALL SELECT 'run', run FROM gone
), scopes (scope) AS (
    SELECT 'global'
     UNION ALL SELECT 'provider:' || substr(deployment, 1, instr(deployment, ':') - 1) FROM gone
     UNION ALL SELECT 'model:' || deployment FROM gone
     UNION ALL SELECT kind || ':' || CASE ltrim(name, '\') WHEN '*' THEN '\' || name ELSE name END FROM named
                WHERE name <> ''
)
SELECT scopes.scope, gone.month_ms, gone.nanousd, gone.tokens, gone.calls, gone.attempts
  FROM gone CROSS JOIN scopes
 WHERE true
    ON CONFLICT (scope, month_ms) DO UPDATE
   SET nanousd = nanousd + excluded.nanousd, tokens = tokens + excluded.tokens, calls = calls + excluded.calls,
       attempts = attempts + excluded.attempts;

-- name: drop_lines
DELETE FROM postings WHERE seq <= :through_seq;

-- name: drop_links
DELETE FROM hold_windows WHERE hold_id = :hold_id;

-- name: drop_hold
DELETE FROM holds WHERE hold_id = :hold_id;

-- name: pruned_before
SELECT MAX(before_ms) FROM closings;

-- name: chargeless_holds
-- At most :most attempts that cost nothing and may go.
SELECT h.hold_id
  FROM holds AS h
 WHERE h.taken_at_ms < :before_ms AND h.closed_at_ms < :before_ms AND h.state = 'released'
   AND NOT EXISTS (SELECT 1 FROM postings AS p WHERE p.hold_id = h.hold_id AND p.kind = 'correction')
   AND NOT EXISTS (SELECT 1 FROM hold_windows AS link JOIN ceiling_windows AS w USING (ceiling_id, starts_at_ms)
                    WHERE link.hold_id = h.hold_id AND w.ends_at_ms > :now_ms)
 ORDER BY h.taken_at_ms
 LIMIT :most;

-- name: finished_generations
-- At most :most calls without an attempt left. A hold is named after its generation.
SELECT g.generation_id
  FROM generations AS g
 WHERE g.created_at_ms < :before_ms AND g.outcome IS NOT NULL
   AND NOT EXISTS (SELECT 1 FROM holds AS h
                    WHERE h.hold_id >= g.generation_id || '.' AND h.hold_id < g.generation_id || '/'
                      AND h.generation_id = g.generation_id)
 ORDER BY g.created_at_ms
 LIMIT :most;

-- name: drop_generation
DELETE FROM generations WHERE generation_id = :generation_id;

-- name: expired_responses
SELECT cache_key FROM responses WHERE expires_at_ms <= :now_ms ORDER BY expires_at_ms LIMIT :most;

-- name: drop_response
DELETE FROM responses WHERE cache_key = :cache_key;

-- name: generations_before
SELECT COUNT(*) FROM generations WHERE created_at_ms < :before_ms AND outcome IS NOT NULL;

-- name: expired_count
SELECT COUNT(*) FROM responses WHERE expires_at_ms <= :now_ms;

-- name: drop_sums
-- At most :most rows of what users, workflows or runs spent in hours whose detail is gone: it could not be proved any more.
DELETE FROM spend_hours_by_name
 WHERE (dimension, period_ms, name, deployment, route, key_id, team, basis, outcome, hour_ms) IN (
       SELECT dimension, period_ms, name, deployment, route, key_id, team, basis, outcome, hour_ms
         FROM spend_hours_by_name
        WHERE dimension = :dimension AND period_ms < :before_ms AND hour_ms < :before_ms
        LIMIT :most);
