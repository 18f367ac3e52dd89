-- What proves a rule in one pass over its tables, added up part by part: small sorts are quick ones. Where a proof fails,
-- the rule's own statement in verify.sql tells the rows.

-- name: note_corrected
-- The basis of each corrected attempt's newest line, at hand: few are.
CREATE TEMP TABLE corrected (hold_id TEXT NOT NULL PRIMARY KEY, cost_basis TEXT NOT NULL) STRICT, WITHOUT ROWID;

-- name: corrected
INSERT OR REPLACE INTO temp.corrected (hold_id, cost_basis)
SELECT hold_id, cost_basis FROM postings WHERE kind = 'correction' ORDER BY seq;

-- name: lines_by_hour
-- The lines in (:after_seq, :through_seq] as `spend_hours` has them, by what was named besides; how many they are, how many have a hold and a
-- generation, and how many are the closing line of their hold's state.
SELECT h.taken_at_ms - h.taken_at_ms % 3600000, h.deployment, g.route, g.key_id, g.team,
       COALESCE(c.cost_basis, p.cost_basis),
       h.outcome, g.user_id, g.workflow, g.run,
       SUM(p.cost_nanousd), 0, 0, SUM(p.kind <> 'correction'), 0, 0,
       SUM(COALESCE(p.prompt_tokens, 0)), SUM(COALESCE(p.completion_tokens, 0)), SUM(COALESCE(p.cache_read_tokens, 0)),
       SUM(COALESCE(p.reasoning_tokens, 0)),
       COUNT(*), COUNT(g.generation_id),
       SUM(p.kind = CASE h.state WHEN 'settled' THEN 'settlement' WHEN 'lapsed' THEN 'lapse' ELSE '' END)
  FROM counted_lines AS p
  LEFT JOIN holds AS h ON h.hold_id = p.hold_id
  LEFT JOIN generations AS g ON g.generation_id = h.generation_id
  LEFT JOIN temp.corrected AS c ON c.hold_id = p.hold_id
 WHERE p.seq > :after_seq AND p.seq <= :through_seq
 GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9, 10;

-- name: holds_without_line
-- The same of attempts that have no closing line: open ones (outcome NULL), and those that cost nothing.
SELECT h.taken_at_ms - h.taken_at_ms % 3600000, h.deployment, g.route, g.key_id, g.team,
       COALESCE(c.cost_basis, 'free'),
       h.outcome, g.user_id, g.workflow, g.run,
       0, 0, 0, COUNT(*), 0, 0, 0, 0, 0, 0,
       COUNT(*), COUNT(g.generation_id), COUNT(*)
  FROM holds AS h
  LEFT JOIN generations AS g ON g.generation_id = h.generation_id
  LEFT JOIN temp.corrected AS c ON c.hold_id = h.hold_id
 WHERE h.state IN ('held', 'released')
 GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9, 10;

-- name: generation_after
-- The id that ends the next part of :most generations. No row: what is left is less.
SELECT generation_id FROM generations WHERE generation_id > :after_id ORDER BY generation_id LIMIT 1 OFFSET :most - 1;

-- name: last_generation
-- NULL: there is none.
SELECT MAX(generation_id) FROM generations;

-- name: generations_by_hour
-- The generations in (:after_id, :through_id] that have ended, as `spend_hours` has them.
SELECT created_at_ms - created_at_ms % 3600000, deployment, route, key_id, team, COALESCE(cost_basis, 'unknown'), outcome,
       user_id, workflow, run,
       0, SUM(saved_nanousd), COUNT(*), 0, SUM(cache = 'hit'), SUM(cache = 'coalesced'), 0, 0, 0, 0
  FROM generations
 WHERE generation_id > :after_id AND generation_id <= :through_id AND outcome IS NOT NULL
 GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9, 10;

-- name: hours_kept
SELECT hour_ms, deployment, route, key_id, team, basis, outcome,
       cost_nanousd, saved_nanousd, generations, attempts, cache_hits, coalesced, prompt_tokens, completion_tokens,
       cached_tokens, reasoning_tokens
  FROM spend_hours;

-- name: hours_by_name_kept
SELECT dimension, hour_ms, name, deployment, route, key_id, team, basis, outcome,
       cost_nanousd, saved_nanousd, generations, attempts, cache_hits, coalesced, prompt_tokens, completion_tokens,
       cached_tokens, reasoning_tokens
  FROM spend_hours_by_name
 WHERE hour_ms >= :since_ms;

-- name: lines_by_window
-- For each window, of the lines in (:after_seq, :through_seq] that it counts: what they come to in money, tokens, calls
-- and attempts, how many holds they close, and the first and last moment and deployment of any.
SELECT link.ceiling_id, link.starts_at_ms, SUM(p.cost_nanousd), SUM(p.tokens),
       SUM(p.kind <> 'correction' AND h.attempt = 1), SUM(p.kind <> 'correction'), SUM(p.kind <> 'correction'),
       MIN(h.taken_at_ms), MAX(h.taken_at_ms), MIN(h.deployment), MAX(h.deployment)
  FROM postings AS p
 CROSS JOIN holds AS h ON h.hold_id = p.hold_id
 CROSS JOIN hold_windows AS link ON link.hold_id = p.hold_id
 WHERE p.seq > :after_seq AND p.seq <= :through_seq
 GROUP BY 1, 2;

-- name: holds_without_line_by_window
SELECT link.ceiling_id, link.starts_at_ms, 0, 0, SUM(h.state = 'released' AND h.attempt = 1),
       SUM(h.state = 'released' AND h.status IS NOT NULL), COUNT(*),
       MIN(h.taken_at_ms), MAX(h.taken_at_ms), MIN(h.deployment), MAX(h.deployment)
  FROM holds AS h
 CROSS JOIN hold_windows AS link ON link.hold_id = h.hold_id
 WHERE h.state IN ('held', 'released')
 GROUP BY 1, 2;

-- name: windows
-- Every window and its ceiling (scope NULL: there is none).
SELECT w.ceiling_id, w.starts_at_ms, w.ends_at_ms, w.counts, w.spent_amount - w.folded_amount, c.scope, c.window, c.active,
       c.since_ms
  FROM ceiling_windows AS w
  LEFT JOIN ceilings AS c ON c.ceiling_id = w.ceiling_id AND c.counts = w.counts;

-- name: counts
SELECT (SELECT COUNT(*) FROM holds), (SELECT COUNT(*) FROM hold_windows),
       (SELECT COUNT(*) FROM postings WHERE kind <> 'correction'),
       (SELECT MAX(seq) FROM postings), (SELECT MIN(seq) FROM postings);

-- name: number_without_line
SELECT COUNT(*) FROM holds WHERE state IN ('held', 'released');
