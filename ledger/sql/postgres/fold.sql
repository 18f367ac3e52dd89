-- Statements of PostgreSQL alone: folding a whole part, whose tables are then dropped. See ledger/postgres/fold.py.
-- Each says by ids which part it is about, so that the server reads no other one.

-- name: old_parts
-- Those whose calls all came before the moment, the oldest first, with the ids that they lie between.
SELECT part, CASE WHEN begins_ms < 0 THEN '' ELSE first_id_of(begins_ms) END AS first_id, first_id_of(ends_ms) AS end_id
  FROM parts
 WHERE ends_ms <= :before_ms
 ORDER BY ends_ms;

-- name: place
-- What a fold goes on from, and what tells afterwards that nothing came to the part meanwhile: a new line has a higher
-- number, a new attempt or call a later moment, and what else is linked to a window was so by configuring ceilings.
SELECT (SELECT MAX(seq) FROM postings WHERE hold_id >= :first_id AND hold_id < :end_id),
       (SELECT MAX(taken_at_ms) FROM holds WHERE hold_id >= :first_id AND hold_id < :end_id),
       (SELECT MAX(created_at_ms) FROM generations WHERE generation_id >= :first_id AND generation_id < :end_id),
       (SELECT epoch FROM ceilings_epoch),
       (SELECT COALESCE(MAX(through_seq), 0) FROM closings WHERE through_seq <> :through_seq);

-- name: newest
SELECT seq FROM newest_line;

-- name: counts
-- How many lines, attempts and calls a part has, and whether all of it may go: see prune.sql on both engines.
SELECT (SELECT COUNT(*) FROM postings WHERE hold_id >= :first_id AND hold_id < :end_id),
       (SELECT COUNT(*) FROM holds WHERE hold_id >= :first_id AND hold_id < :end_id),
       (SELECT COUNT(*) FROM generations WHERE generation_id >= :first_id AND generation_id < :end_id),
       NOT EXISTS (SELECT 1 FROM postings
                    WHERE hold_id >= :first_id AND hold_id < :end_id AND posted_at_ms >= :before_ms)
       AND NOT EXISTS (SELECT 1 FROM holds
                        WHERE hold_id >= :first_id AND hold_id < :end_id
                          AND (state = 'held' OR taken_at_ms >= :before_ms OR closed_at_ms >= :before_ms))
       AND NOT EXISTS (SELECT 1 FROM generations
                        WHERE generation_id >= :first_id AND generation_id < :end_id
                          AND (outcome IS NULL OR created_at_ms >= :before_ms))
       AND NOT EXISTS (SELECT 1 FROM hold_windows AS link JOIN ceiling_windows AS w USING (ceiling_id, starts_at_ms)
                        WHERE link.hold_id >= :first_id AND link.hold_id < :end_id AND w.ends_at_ms > :now_ms);

-- name: lines_between
-- The lines of other parts that a balance up to :through_seq stands for, too: late ones of older calls, and the first ones of
-- the part that follows. At most :most.
SELECT p.seq, p.hold_id
  FROM postings AS p
 WHERE p.seq > :after_seq AND p.seq <= :through_seq AND (p.hold_id < :first_id OR p.hold_id >= :end_id)
 ORDER BY p.seq
 LIMIT :most;

-- name: may_go
-- Whether an attempt is folded with all of its lines if those up to :through_seq are.
SELECT h.state <> 'held' AND h.taken_at_ms < :before_ms AND h.closed_at_ms < :before_ms
           AND (SELECT MAX(p.seq) FROM postings AS p WHERE p.hold_id = :hold_id) <= :through_seq
           AND (SELECT MAX(p.posted_at_ms) FROM postings AS p WHERE p.hold_id = :hold_id) < :before_ms
           AND (SELECT g.outcome IS NOT NULL AND g.created_at_ms < :before_ms FROM generations AS g
                 WHERE g.generation_id = :generation_id)
           AND NOT EXISTS (SELECT 1 FROM hold_windows AS link JOIN ceiling_windows AS w USING (ceiling_id, starts_at_ms)
                            WHERE link.hold_id = :hold_id AND w.ends_at_ms > :now_ms)
  FROM holds AS h
 WHERE h.hold_id = :hold_id;

-- name: make_sums
-- What each window keeps of what goes.
CREATE TEMPORARY TABLE folded (
    ceiling_id text COLLATE "C" NOT NULL,
    starts_at_ms bigint NOT NULL,
    nanousd bigint NOT NULL,
    tokens bigint NOT NULL,
    calls bigint NOT NULL,
    attempts bigint NOT NULL,
    unasked_nanousd bigint NOT NULL,
    unasked_tokens bigint NOT NULL
) ON COMMIT DROP;

-- name: sum_lines
INSERT INTO folded
SELECT link.ceiling_id, link.starts_at_ms, SUM(p.cost_nanousd), SUM(p.tokens), 0, 0,
       SUM(CASE p.kind WHEN 'correction' THEN GREATEST(p.cost_nanousd, 0) ELSE p.overrun_nanousd END),
       SUM(GREATEST(CASE p.kind WHEN 'correction' THEN p.tokens ELSE p.tokens - h.held_tokens END, 0))
  FROM postings AS p
  JOIN holds AS h ON h.hold_id = p.hold_id
  JOIN hold_windows AS link ON link.hold_id = p.hold_id
 WHERE p.hold_id >= :first_id AND p.hold_id < :end_id AND h.hold_id >= :first_id AND h.hold_id < :end_id
   AND link.hold_id >= :first_id AND link.hold_id < :end_id
 GROUP BY link.ceiling_id, link.starts_at_ms;

-- name: sum_attempts
INSERT INTO folded
SELECT link.ceiling_id, link.starts_at_ms, 0, 0, COUNT(*) FILTER (WHERE h.attempt = 1),
       COUNT(*) FILTER (WHERE h.state <> 'released' OR h.status IS NOT NULL), 0, 0
  FROM holds AS h
  JOIN hold_windows AS link ON link.hold_id = h.hold_id
 WHERE h.hold_id >= :first_id AND h.hold_id < :end_id AND link.hold_id >= :first_id AND link.hold_id < :end_id
 GROUP BY link.ceiling_id, link.starts_at_ms;

-- name: sum_attempt
-- The same of one attempt of another part, with all of its lines.
INSERT INTO folded
SELECT link.ceiling_id, link.starts_at_ms, lines.nanousd, lines.tokens, CAST(h.attempt = 1 AS integer),
       CAST(h.state <> 'released' OR h.status IS NOT NULL AS integer), lines.unasked_nanousd, lines.unasked_tokens
  FROM holds AS h
 CROSS JOIN (SELECT SUM(p.cost_nanousd) AS nanousd, SUM(p.tokens) AS tokens,
                    SUM(CASE p.kind WHEN 'correction' THEN GREATEST(p.cost_nanousd, 0) ELSE p.overrun_nanousd END)
                        AS unasked_nanousd,
                    SUM(GREATEST(CASE p.kind WHEN 'correction' THEN p.tokens ELSE p.tokens - whole.held_tokens END, 0))
                        AS unasked_tokens
               FROM postings AS p, (SELECT held_tokens FROM holds WHERE hold_id = :hold_id) AS whole
              WHERE p.hold_id = :hold_id) AS lines
  JOIN hold_windows AS link ON link.hold_id = :hold_id
 WHERE h.hold_id = :hold_id;

-- name: sum_scopes
-- What scopes keep of what goes: see fold_scopes.
INSERT INTO folded_months AS kept (scope, month_ms, nanousd, tokens, calls, attempts)
SELECT scopes.scope, gone.month_ms, CAST(SUM(gone.nanousd) AS bigint), CAST(SUM(gone.tokens) AS bigint),
       CAST(SUM(gone.calls) AS bigint), CAST(SUM(gone.attempts) AS bigint)
  FROM (SELECT h.deployment, g.key_id, g.team, g.user_id, g.workflow, g.run, month_of(h.taken_at_ms, 0) AS month_ms,
               COALESCE(SUM(lines.nanousd), 0) AS nanousd, COALESCE(SUM(lines.tokens), 0) AS tokens,
               COUNT(*) FILTER (WHERE h.attempt = 1) AS calls,
               COUNT(*) FILTER (WHERE h.state <> 'released' OR h.status IS NOT NULL) AS attempts
          FROM holds AS h
          JOIN generations AS g ON g.generation_id = h.generation_id
          LEFT JOIN (SELECT p.hold_id, SUM(p.cost_nanousd) AS nanousd, SUM(p.tokens) AS tokens
                       FROM postings AS p
                      WHERE p.hold_id >= :first_id AND p.hold_id < :end_id
                      GROUP BY p.hold_id) AS lines ON lines.hold_id = h.hold_id
         WHERE h.hold_id >= :first_id AND h.hold_id < :end_id
           AND g.generation_id >= :first_id AND g.generation_id < :end_id
         GROUP BY 1, 2, 3, 4, 5, 6, 7) AS gone
 CROSS JOIN LATERAL scopes_of(gone.deployment, gone.key_id, gone.team, gone.user_id, gone.workflow, gone.run)
    AS scopes (scope)
 GROUP BY 1, 2
    ON CONFLICT (scope, month_ms) DO UPDATE
   SET nanousd = kept.nanousd + excluded.nanousd, tokens = kept.tokens + excluded.tokens,
       calls = kept.calls + excluded.calls, attempts = kept.attempts + excluded.attempts;

-- name: count_windows
SELECT COUNT(DISTINCT (ceiling_id, starts_at_ms)) FROM folded;

-- name: fold
UPDATE ceiling_windows AS w
   SET folded_amount = folded_amount + CASE w.counts WHEN 'nanousd' THEN part.nanousd WHEN 'tokens' THEN part.tokens
                                                     WHEN 'attempts' THEN part.attempts ELSE part.calls END,
       excused_amount = excused_amount + CASE w.counts WHEN 'nanousd' THEN part.unasked_nanousd
                                                       WHEN 'tokens' THEN part.unasked_tokens ELSE 0 END
  FROM (SELECT ceiling_id, starts_at_ms, SUM(nanousd) AS nanousd, SUM(tokens) AS tokens, SUM(calls) AS calls,
               SUM(attempts) AS attempts, SUM(unasked_nanousd) AS unasked_nanousd, SUM(unasked_tokens) AS unasked_tokens
          FROM folded
         GROUP BY ceiling_id, starts_at_ms) AS part
 WHERE w.ceiling_id = part.ceiling_id AND w.starts_at_ms = part.starts_at_ms;

-- name: drop_lines_of
DELETE FROM postings WHERE hold_id = :hold_id;

-- name: drop_part
SELECT drop_part(:part);

-- name: empty_parts
-- Those of which nothing is left.
SELECT part
  FROM parts
 WHERE ends_ms <= (SELECT MAX(before_ms) FROM closings)
   AND (part <> 'before' OR pg_relation_size(to_regclass('generations_before')) > 0)
   AND NOT EXISTS (SELECT 1 FROM generations WHERE generation_id >= CASE WHEN begins_ms < 0 THEN '' ELSE first_id_of(begins_ms) END
                                               AND generation_id < first_id_of(ends_ms))
   AND NOT EXISTS (SELECT 1 FROM postings WHERE hold_id >= CASE WHEN begins_ms < 0 THEN '' ELSE first_id_of(begins_ms) END
                                            AND hold_id < first_id_of(ends_ms))
   AND NOT EXISTS (SELECT 1 FROM holds WHERE hold_id >= CASE WHEN begins_ms < 0 THEN '' ELSE first_id_of(begins_ms) END
                                         AND hold_id < first_id_of(ends_ms));
