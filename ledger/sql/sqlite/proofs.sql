-- What proves a rule in one pass over its tables, added up part by part: small sorts are quick ones. Where a proof fails,
-- the rule's own statement in verify.sql tells the rows.

-- name: note_corrected
-- The basis of each corrected attempt's newest line, at hand: few are.
CREATE TEMP TABLE corrected (hold_id TEXT NOT NULL PRIMARY KEY, cost_basis TEXT NOT NULL) STRICT, WITHOUT ROWID;

-- name: corrected
INSERT OR REPLACE INTO temp.corrected (hold_id, cost_basis)
SELECT hold_id, cost_basis FROM postings WHERE kind = 'correction' ORDER BY seq;

-- name: is_corrected_noted
-- No row: it is not, on this connection.
SELECT 1 FROM temp.sqlite_master WHERE name = 'corrected';

-- name: lines_by_hour
-- The lines in (:after_seq, :through_seq] as `spend_hours` has them. Then, for users, workflows and runs, what each has of
-- it in one number (`ledger.sqlite.gathered`): a name's weight times its sums, each of these times its factor. Then how many
-- lines they are, how many have a hold and a generation, and how many are the closing line of their hold's state.
WITH line AS (
    SELECT h.taken_at_ms - h.taken_at_ms % 3600000 AS hour_ms, h.deployment, g.route, g.key_id, g.team,
           COALESCE(c.cost_basis, p.cost_basis) AS basis, h.outcome, g.user_id, g.workflow, g.run, g.generation_id,
           p.cost_nanousd, p.kind <> 'correction' AS attempts, COALESCE(p.prompt_tokens, 0) AS prompt_tokens,
           COALESCE(p.completion_tokens, 0) AS completion_tokens, COALESCE(p.cache_read_tokens, 0) AS cached_tokens,
           COALESCE(p.reasoning_tokens, 0) AS reasoning_tokens,
           p.kind = CASE h.state WHEN 'settled' THEN 'settlement' WHEN 'lapsed' THEN 'lapse' ELSE '' END AS closes
      FROM counted_lines AS p
      LEFT JOIN holds AS h ON h.hold_id = p.hold_id
      LEFT JOIN generations AS g ON g.generation_id = h.generation_id
      LEFT JOIN temp.corrected AS c ON c.hold_id = p.hold_id
     WHERE p.seq > :after_seq AND p.seq <= :through_seq
), combined AS (
    SELECT *, (cost_nanousd % 2147483647 * :cost_nanousd + attempts * :attempts
               + prompt_tokens % 2147483647 * :prompt_tokens + completion_tokens % 2147483647 * :completion_tokens
               + cached_tokens % 2147483647 * :cached_tokens + reasoning_tokens % 2147483647 * :reasoning_tokens)
              % 2147483647 AS all_sums
      FROM line
)
SELECT hour_ms, deployment, route, key_id, team, basis, outcome,
       SUM(cost_nanousd), 0, 0, SUM(attempts), 0, 0, SUM(prompt_tokens), SUM(completion_tokens), SUM(cached_tokens),
       SUM(reasoning_tokens),
       SUM(CASE user_id WHEN '' THEN 0 ELSE hash(user_id) % 2147483647 * all_sums % 2147483647 END),
       SUM(CASE workflow WHEN '' THEN 0 ELSE hash(workflow) % 2147483647 * all_sums % 2147483647 END),
       SUM(CASE run WHEN '' THEN 0 ELSE hash(run) % 2147483647 * all_sums % 2147483647 END),
       COUNT(*), COUNT(generation_id), SUM(closes)
  FROM combined
 GROUP BY 1, 2, 3, 4, 5, 6, 7;

-- name: holds_without_line
-- The same of attempts that have no closing line: open ones (outcome NULL), and those that cost nothing.
SELECT h.taken_at_ms - h.taken_at_ms % 3600000, h.deployment, g.route, g.key_id, g.team,
       COALESCE(c.cost_basis, 'free'),
       h.outcome,
       0, 0, 0, COUNT(*), 0, 0, 0, 0, 0, 0,
       SUM(CASE g.user_id WHEN '' THEN 0 ELSE hash(g.user_id) % 2147483647 * :attempts % 2147483647 END),
       SUM(CASE g.workflow WHEN '' THEN 0 ELSE hash(g.workflow) % 2147483647 * :attempts % 2147483647 END),
       SUM(CASE g.run WHEN '' THEN 0 ELSE hash(g.run) % 2147483647 * :attempts % 2147483647 END),
       COUNT(*), COUNT(g.generation_id), COUNT(*)
  FROM holds AS h
  LEFT JOIN generations AS g ON g.generation_id = h.generation_id
  LEFT JOIN temp.corrected AS c ON c.hold_id = h.hold_id
 WHERE h.state IN ('held', 'released')
 GROUP BY 1, 2, 3, 4, 5, 6, 7;

-- name: generation_after
-- The id that ends the next part of :most generations. No row: what is left is less.
SELECT generation_id FROM generations WHERE generation_id > :after_id ORDER BY generation_id LIMIT 1 OFFSET :most - 1;

-- name: last_generation
-- NULL: there is none.
SELECT MAX(generation_id) FROM generations;

-- name: generations_by_hour
-- The generations in (:after_id, :through_id] that have ended, as `spend_hours` and lines_by_hour have them.
WITH ended AS (
    SELECT created_at_ms - created_at_ms % 3600000 AS hour_ms, deployment, route, key_id, team,
           COALESCE(cost_basis, 'unknown') AS basis, outcome, user_id, workflow, run, saved_nanousd, cache = 'hit' AS is_hit,
           cache = 'coalesced' AS is_coalesced
      FROM generations
     WHERE generation_id > :after_id AND generation_id <= :through_id AND outcome IS NOT NULL
), combined AS (
    SELECT *, (saved_nanousd % 2147483647 * :saved_nanousd + :generations + is_hit * :cache_hits
               + is_coalesced * :coalesced) % 2147483647 AS all_sums
      FROM ended
)
SELECT hour_ms, deployment, route, key_id, team, basis, outcome,
       0, SUM(saved_nanousd), COUNT(*), 0, SUM(is_hit), SUM(is_coalesced), 0, 0, 0, 0,
       SUM(CASE user_id WHEN '' THEN 0 ELSE hash(user_id) % 2147483647 * all_sums % 2147483647 END),
       SUM(CASE workflow WHEN '' THEN 0 ELSE hash(workflow) % 2147483647 * all_sums % 2147483647 END),
       SUM(CASE run WHEN '' THEN 0 ELSE hash(run) % 2147483647 * all_sums % 2147483647 END)
  FROM combined
 GROUP BY 1, 2, 3, 4, 5, 6, 7;

-- name: hours_kept
SELECT hour_ms, deployment, route, key_id, team, basis, outcome,
       cost_nanousd, saved_nanousd, generations, attempts, cache_hits, coalesced, prompt_tokens, completion_tokens,
       cached_tokens, reasoning_tokens
  FROM spend_hours;

-- name: names_kept
-- What is kept of a :dimension in a period, from :since_ms on, in one number, as lines_by_hour has it: weighted by its hour,
-- too. NULL: nothing.
SELECT SUM(weight(hour_ms, deployment, route, key_id, team, basis, outcome) * (hash(name) % 2147483647) % 2147483647
           * ((cost_nanousd % 2147483647 * :cost_nanousd + saved_nanousd % 2147483647 * :saved_nanousd
               + generations % 2147483647 * :generations + attempts % 2147483647 * :attempts
               + cache_hits % 2147483647 * :cache_hits + coalesced % 2147483647 * :coalesced
               + prompt_tokens % 2147483647 * :prompt_tokens + completion_tokens % 2147483647 * :completion_tokens
               + cached_tokens % 2147483647 * :cached_tokens + reasoning_tokens % 2147483647 * :reasoning_tokens)
              % 2147483647) % 2147483647)
  FROM spend_hours_by_name
 WHERE dimension = :dimension AND period_ms = :period_ms AND hour_ms >= :since_ms;

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
       (SELECT COUNT(*) FROM postings WHERE kind <> 'correction');

-- name: lines
-- How many there are, and the numbers of the first and the last.
SELECT COUNT(*), COALESCE(MIN(seq), 0), COALESCE(MAX(seq), 0) FROM postings;

-- name: number_without_line
SELECT COUNT(*) FROM holds WHERE state IN ('held', 'released');
