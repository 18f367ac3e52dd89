-- Each statement finds the rows that break one rule; none is the proof that it holds. Each is one pass over its tables:
-- an audit of ten million lines has to end. What was folded away is in the closings and the windows' `folded` parts.

-- name: invariant 1: held + spent stays under the limit
-- Above the highest limit it has had by no more than what came without being admitted: overruns that postings name, and
-- corrections. (A limit lowered below use stays excused by the higher one.) Nothing of the kind adds a call.
WITH unasked AS MATERIALIZED (
    SELECT link.ceiling_id, link.starts_at_ms,
           SUM(CASE p.kind WHEN 'correction' THEN MAX(p.cost_nanousd, 0) ELSE p.overrun_nanousd END) AS cost_nanousd
      FROM postings AS p CROSS JOIN hold_windows AS link ON link.hold_id = p.hold_id
     WHERE EXISTS (SELECT 1 FROM ceiling_windows WHERE held_amount + spent_amount > excused_amount)
       AND (p.overrun_nanousd > 0 OR p.kind = 'correction')
     GROUP BY link.ceiling_id, link.starts_at_ms)
SELECT w.ceiling_id, w.starts_at_ms, w.counts, w.held_amount, w.spent_amount, w.limit_amount, w.excused_amount,
       COALESCE(unasked.cost_nanousd, 0) AS unasked_nanousd
  FROM ceiling_windows AS w
  LEFT JOIN unasked ON unasked.ceiling_id = w.ceiling_id AND unasked.starts_at_ms = w.starts_at_ms
                   AND w.counts = 'nanousd'
 WHERE w.counts <> 'tokens' AND w.held_amount + w.spent_amount > w.excused_amount + COALESCE(unasked.cost_nanousd, 0);

-- name: invariant 1: held + spent stays under the limit, in tokens
-- As above. More than was held: the provider's count was above the bound.
WITH unasked AS MATERIALIZED (
    SELECT link.ceiling_id, link.starts_at_ms,
           SUM(MAX(CASE p.kind WHEN 'correction' THEN p.tokens ELSE p.tokens - h.held_tokens END, 0)) AS tokens
      FROM postings AS p
     CROSS JOIN holds AS h ON h.hold_id = p.hold_id
     CROSS JOIN hold_windows AS link ON link.hold_id = p.hold_id
     WHERE EXISTS (SELECT 1 FROM ceilings WHERE counts = 'tokens')
       AND (p.tokens > h.held_tokens OR p.kind = 'correction')
     GROUP BY link.ceiling_id, link.starts_at_ms)
SELECT w.ceiling_id, w.starts_at_ms, w.held_amount, w.spent_amount, w.limit_amount, w.excused_amount,
       COALESCE(unasked.tokens, 0) AS unasked_tokens
  FROM ceiling_windows AS w
  LEFT JOIN unasked ON unasked.ceiling_id = w.ceiling_id AND unasked.starts_at_ms = w.starts_at_ms
 WHERE w.counts = 'tokens' AND w.held_amount + w.spent_amount > w.excused_amount + COALESCE(unasked.tokens, 0);

-- name: invariant 2: held is the sum of open holds
-- And of what slices have left.
WITH open AS MATERIALIZED (
    SELECT link.ceiling_id, link.starts_at_ms, SUM(h.held_nanousd) AS nanousd, SUM(h.held_tokens) AS tokens,
           SUM(h.attempt = 1) AS calls, COUNT(*) AS attempts
      FROM holds AS h CROSS JOIN hold_windows AS link ON link.hold_id = h.hold_id
     WHERE h.state = 'held'
     GROUP BY link.ceiling_id, link.starts_at_ms), found AS (
    SELECT w.ceiling_id, w.starts_at_ms, w.counts, w.held_amount,
           COALESCE(CASE w.counts WHEN 'nanousd' THEN open.nanousd WHEN 'tokens' THEN open.tokens
                                  WHEN 'attempts' THEN open.attempts ELSE open.calls END, 0)
           + COALESCE((SELECT SUM(free_amount) FROM slices AS s
                        WHERE s.ceiling_id = w.ceiling_id AND s.starts_at_ms = w.starts_at_ms), 0) AS open_holds_amount
      FROM ceiling_windows AS w
      LEFT JOIN open ON open.ceiling_id = w.ceiling_id AND open.starts_at_ms = w.starts_at_ms)
SELECT ceiling_id, starts_at_ms, counts, held_amount, open_holds_amount
  FROM found
 WHERE held_amount <> open_holds_amount;

-- name: invariant 2: spent is the sum of postings
WITH posted AS MATERIALIZED (
    SELECT link.ceiling_id, link.starts_at_ms, SUM(p.cost_nanousd) AS nanousd, SUM(p.tokens) AS tokens
      FROM postings AS p CROSS JOIN hold_windows AS link ON link.hold_id = p.hold_id
     GROUP BY link.ceiling_id, link.starts_at_ms), found AS (
    SELECT w.ceiling_id, w.starts_at_ms, w.counts, w.spent_amount, w.folded_amount,
           COALESCE(CASE w.counts WHEN 'tokens' THEN posted.tokens ELSE posted.nanousd END, 0) AS postings_amount
      FROM ceiling_windows AS w
      LEFT JOIN posted ON posted.ceiling_id = w.ceiling_id AND posted.starts_at_ms = w.starts_at_ms
     WHERE w.counts IN ('nanousd', 'tokens'))
SELECT ceiling_id, starts_at_ms, counts, spent_amount, folded_amount, postings_amount
  FROM found
 WHERE spent_amount <> folded_amount + postings_amount;

-- name: invariant 2: spent is the number of calls that are over
-- However many attempts they took: the first stands for all of them. Or, of a deployment, of attempts that were sent.
WITH over AS MATERIALIZED (
    SELECT link.ceiling_id, link.starts_at_ms, SUM(h.attempt = 1) AS calls,
           SUM(h.state <> 'released' OR h.status IS NOT NULL) AS attempts
      FROM holds AS h CROSS JOIN hold_windows AS link ON link.hold_id = h.hold_id
     WHERE EXISTS (SELECT 1 FROM ceilings WHERE counts IN ('calls', 'attempts'))
       AND h.state <> 'held'
     GROUP BY link.ceiling_id, link.starts_at_ms), found AS (
    SELECT w.ceiling_id, w.starts_at_ms, w.counts, w.spent_amount, w.folded_amount,
           COALESCE(CASE w.counts WHEN 'attempts' THEN over.attempts ELSE over.calls END, 0) AS over_amount
      FROM ceiling_windows AS w
      LEFT JOIN over ON over.ceiling_id = w.ceiling_id AND over.starts_at_ms = w.starts_at_ms
     WHERE w.counts IN ('calls', 'attempts'))
SELECT ceiling_id, starts_at_ms, counts, spent_amount, folded_amount, over_amount
  FROM found
 WHERE spent_amount <> folded_amount + over_amount;

-- name: invariant 2: what a ceiling has folded is what its scope has
-- Of a ceiling in force that never ends: all that was folded was in its window, or was added when it came into force.
WITH found AS (
    SELECT w.ceiling_id, w.starts_at_ms, w.counts, w.folded_amount,
           (SELECT CAST(COALESCE(SUM(CASE w.counts WHEN 'nanousd' THEN f.nanousd WHEN 'tokens' THEN f.tokens
                                                   WHEN 'attempts' THEN f.attempts ELSE f.calls END), 0) AS bigint)
              FROM folded_months AS f
             WHERE f.scope = c.scope) AS of_scope_amount
      FROM ceiling_windows AS w
      JOIN ceilings AS c ON c.ceiling_id = w.ceiling_id AND c.active = 1
     WHERE w.ends_at_ms IS NULL)
SELECT ceiling_id, starts_at_ms, counts, folded_amount, of_scope_amount
  FROM found
 WHERE folded_amount <> of_scope_amount;

-- name: invariant 2: a correction counts the tokens that lines before it did not
-- A hold's lines together count the tokens that one of them knows; where none does, the first counts the whole hold.
SELECT p.seq, p.hold_id, p.tokens, c.prompt_tokens + c.completion_tokens AS used_tokens
  FROM postings AS p
  JOIN counted_lines AS c ON c.seq = p.seq
 WHERE p.kind = 'correction'
   AND p.tokens <> COALESCE(
           c.prompt_tokens + c.completion_tokens
           - (SELECT COALESCE(SUM(q.tokens), 0) FROM postings AS q
               WHERE q.hold_id = p.hold_id AND q.kind <> 'correction')
           - (SELECT COALESCE(SUM(q.tokens), 0) FROM postings AS q
               WHERE q.hold_id = p.hold_id AND q.kind = 'correction' AND q.seq < p.seq), 0);

-- name: invariant 3: a closed hold has the closing line of its state
-- One closing line at most is a unique index's rule, which the check of the file looks after.
SELECT h.hold_id, h.state, p.kind AS closing_line
  FROM holds AS h
  LEFT JOIN postings AS p ON p.hold_id = h.hold_id AND p.kind <> 'correction'
 WHERE p.kind IS NOT CASE h.state WHEN 'settled' THEN 'settlement' WHEN 'lapsed' THEN 'lapse' END;

-- name: invariant 3: postings are numbered without a gap
SELECT COUNT(*) AS lines, MIN(seq) AS first, MAX(seq) AS last,
       (SELECT COALESCE(MAX(through_seq), 0) FROM closings) AS folded_through
  FROM postings
HAVING COUNT(*) > 0 AND (first <> folded_through + 1 OR last <> folded_through + lines);

-- name: invariant 3: what was looked at is still there
-- The newest line of the service's last look: a ledger that lost its end, or got another one, does not have it.
SELECT audit.seq, (SELECT MAX(seq) FROM postings) AS last
  FROM audit
 WHERE audit.seq > (SELECT COALESCE(MAX(through_seq), 0) FROM closings)
   AND audit.chain IS NOT (SELECT chain FROM postings WHERE postings.seq = audit.seq);

-- name: invariant 5: a hold is in every window that counts it, or in none
-- Every ceiling in force whose window was open when the hold was taken and whose scope the deployment belongs to; less
-- windows that were over when it came into force.
SELECT h.hold_id, w.ceiling_id, w.starts_at_ms
  FROM ceiling_windows AS w
  JOIN ceilings AS c ON c.ceiling_id = w.ceiling_id AND c.active = 1
                    AND (w.ends_at_ms IS NULL OR w.ends_at_ms > c.since_ms)
  JOIN holds AS h ON h.taken_at_ms >= w.starts_at_ms AND (w.ends_at_ms IS NULL OR h.taken_at_ms < w.ends_at_ms)
 WHERE (c.scope = 'global'
        OR c.scope = 'model:' || h.deployment
        OR c.scope = 'provider:' || substr(h.deployment, 1, instr(h.deployment, ':') - 1))
   AND NOT EXISTS (SELECT 1 FROM hold_windows AS link
                    WHERE link.hold_id = h.hold_id AND link.ceiling_id = w.ceiling_id
                      AND link.starts_at_ms = w.starts_at_ms);

-- name: invariant 5: a hold is in every window that counts its caller, or in none
-- As above, for the ceilings of keys, teams, users, workflows and runs, from the side of the holds: there may be many.
-- Names are written into scopes as `ledger.ceilings.scopes_of` does.
WITH kinds AS MATERIALIZED (
    SELECT column1 AS kind
      FROM (VALUES ('key'), ('team'), ('user'), ('workflow'), ('run'))
     WHERE EXISTS (SELECT 1 FROM ceilings
                    WHERE active = 1 AND substr(scope, 1, length(column1) + 1) = column1 || ':')
), callers AS (
    SELECT h.hold_id, h.taken_at_ms, k.kind,
           CASE k.kind WHEN 'key' THEN g.key_id WHEN 'team' THEN g.team WHEN 'user' THEN g.user_id
                       WHEN 'workflow' THEN g.workflow ELSE g.run END AS name
      FROM kinds AS k
     CROSS JOIN holds AS h
      JOIN generations AS g USING (generation_id)
), named AS (
    SELECT hold_id, taken_at_ms,
           kind || ':' || CASE ltrim(name, '\') WHEN '*' THEN '\' || name ELSE name END AS scope
      FROM callers
     WHERE name <> ''
)
SELECT n.hold_id, w.ceiling_id, w.starts_at_ms
  FROM named AS n
  JOIN ceilings AS c ON c.scope = n.scope AND c.active = 1
  JOIN ceiling_windows AS w ON w.ceiling_id = c.ceiling_id
   AND w.starts_at_ms = (SELECT MAX(last.starts_at_ms) FROM ceiling_windows AS last
                          WHERE last.ceiling_id = c.ceiling_id AND last.starts_at_ms <= n.taken_at_ms)
   AND (w.ends_at_ms IS NULL OR (w.ends_at_ms > n.taken_at_ms AND w.ends_at_ms > c.since_ms))
 WHERE NOT EXISTS (SELECT 1 FROM hold_windows AS link
                    WHERE link.hold_id = n.hold_id AND link.ceiling_id = w.ceiling_id
                      AND link.starts_at_ms = w.starts_at_ms);

-- name: reports: spend by user, workflow and run is what its lines come to
-- Wherever there is detail. Of what came to nothing a row may be left.
WITH pruned AS MATERIALIZED (
    SELECT COALESCE(MAX(before_ms), 0) AS before_ms FROM closings
), detail AS MATERIALIZED (
    SELECT dimension, hour_ms, name, deployment, route, key_id, team, basis, outcome, SUM(cost_nanousd) AS cost_nanousd,
           SUM(saved_nanousd) AS saved_nanousd, SUM(generations) AS generations, SUM(attempts) AS attempts,
           SUM(cache_hits) AS cache_hits, SUM(coalesced) AS coalesced, SUM(prompt_tokens) AS prompt_tokens,
           SUM(completion_tokens) AS completion_tokens, SUM(cached_tokens) AS cached_tokens,
           SUM(reasoning_tokens) AS reasoning_tokens
      FROM named_spend
     WHERE hour_ms >= (SELECT before_ms FROM pruned)
     GROUP BY dimension, hour_ms, name, deployment, route, key_id, team, basis, outcome
), kept AS MATERIALIZED (
    SELECT dimension, hour_ms, name, deployment, route, key_id, team, basis, outcome, cost_nanousd, saved_nanousd,
           generations, attempts, cache_hits, coalesced, prompt_tokens, completion_tokens, cached_tokens, reasoning_tokens
      FROM spend_hours_by_name
     WHERE hour_ms >= (SELECT before_ms FROM pruned)
       AND (cost_nanousd, saved_nanousd, generations, attempts, cache_hits, coalesced, prompt_tokens, completion_tokens,
            cached_tokens, reasoning_tokens) <> (0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
)
SELECT 'kept' AS by, found.* FROM (
    SELECT dimension, hour_ms, name, deployment, route, key_id, team, basis, outcome, cost_nanousd, saved_nanousd, generations,
           attempts, cache_hits, coalesced, prompt_tokens, completion_tokens, cached_tokens, reasoning_tokens
      FROM kept
    EXCEPT
    SELECT dimension, hour_ms, name, deployment, route, key_id, team, basis, outcome, cost_nanousd, saved_nanousd, generations,
           attempts, cache_hits, coalesced, prompt_tokens, completion_tokens, cached_tokens, reasoning_tokens
      FROM detail) AS found
 UNION ALL
SELECT 'lines', found.* FROM (
    SELECT dimension, hour_ms, name, deployment, route, key_id, team, basis, outcome, cost_nanousd, saved_nanousd, generations,
           attempts, cache_hits, coalesced, prompt_tokens, completion_tokens, cached_tokens, reasoning_tokens
      FROM detail
    EXCEPT
    SELECT dimension, hour_ms, name, deployment, route, key_id, team, basis, outcome, cost_nanousd, saved_nanousd, generations,
           attempts, cache_hits, coalesced, prompt_tokens, completion_tokens, cached_tokens, reasoning_tokens
      FROM kept) AS found;

-- name: reports: spend by the day of users, workflows and runs is what its hours come to
-- Of what came to nothing a row may be left.
WITH hours AS MATERIALIZED (
    SELECT dimension, hour_ms - hour_ms % 86400000 AS day_ms, name, deployment, route, key_id, team, basis, outcome,
           SUM(cost_nanousd) AS cost_nanousd, SUM(saved_nanousd) AS saved_nanousd, SUM(generations) AS generations,
           SUM(attempts) AS attempts, SUM(cache_hits) AS cache_hits, SUM(coalesced) AS coalesced,
           SUM(prompt_tokens) AS prompt_tokens, SUM(completion_tokens) AS completion_tokens,
           SUM(cached_tokens) AS cached_tokens, SUM(reasoning_tokens) AS reasoning_tokens
      FROM spend_hours_by_name
     GROUP BY dimension, hour_ms - hour_ms % 86400000, name, deployment, route, key_id, team, basis, outcome
)
SELECT 'kept' AS by, found.* FROM (
    SELECT dimension, day_ms, name, deployment, route, key_id, team, basis, outcome, cost_nanousd, saved_nanousd, generations,
           attempts, cache_hits, coalesced, prompt_tokens, completion_tokens, cached_tokens, reasoning_tokens
      FROM spend_days_by_name
    EXCEPT
    SELECT dimension, day_ms, name, deployment, route, key_id, team, basis, outcome, cost_nanousd, saved_nanousd, generations,
           attempts, cache_hits, coalesced, prompt_tokens, completion_tokens, cached_tokens, reasoning_tokens
      FROM hours) AS found
 WHERE (found.cost_nanousd, found.saved_nanousd, found.generations, found.attempts, found.cache_hits, found.coalesced,
        found.prompt_tokens, found.completion_tokens, found.cached_tokens, found.reasoning_tokens)
       <> (0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
 UNION ALL
SELECT 'hours', found.* FROM (
    SELECT dimension, day_ms, name, deployment, route, key_id, team, basis, outcome, cost_nanousd, saved_nanousd, generations,
           attempts, cache_hits, coalesced, prompt_tokens, completion_tokens, cached_tokens, reasoning_tokens
      FROM hours
    EXCEPT
    SELECT dimension, day_ms, name, deployment, route, key_id, team, basis, outcome, cost_nanousd, saved_nanousd, generations,
           attempts, cache_hits, coalesced, prompt_tokens, completion_tokens, cached_tokens, reasoning_tokens
      FROM spend_days_by_name) AS found
 WHERE (found.cost_nanousd, found.saved_nanousd, found.generations, found.attempts, found.cache_hits, found.coalesced,
        found.prompt_tokens, found.completion_tokens, found.cached_tokens, found.reasoning_tokens)
       <> (0, 0, 0, 0, 0, 0, 0, 0, 0, 0);

-- name: reports: spend by the day of users and workflows together is what its lines come to
-- Of the calls that are added up. Of what came to nothing a row may be left.
WITH detail AS MATERIALIZED (
    SELECT user_id, workflow, deployment, route, key_id, team, basis, outcome, at_ms - at_ms % 86400000 AS day_ms,
           SUM(cost_nanousd) AS cost_nanousd, SUM(saved_nanousd) AS saved_nanousd, SUM(generations) AS generations,
           SUM(attempts) AS attempts, SUM(cache_hits) AS cache_hits, SUM(coalesced) AS coalesced,
           SUM(prompt_tokens) AS prompt_tokens, SUM(completion_tokens) AS completion_tokens,
           SUM(cached_tokens) AS cached_tokens, SUM(reasoning_tokens) AS reasoning_tokens
      FROM closed_spend
     WHERE at_ms >= (SELECT since_ms FROM pairs_added_up) AND at_ms < (SELECT until_ms FROM pairs_added_up)
     GROUP BY user_id, workflow, deployment, route, key_id, team, basis, outcome, at_ms - at_ms % 86400000
), kept AS MATERIALIZED (
    SELECT user_id, workflow, deployment, route, key_id, team, basis, outcome, day_ms, cost_nanousd, saved_nanousd, generations,
           attempts, cache_hits, coalesced, prompt_tokens, completion_tokens, cached_tokens, reasoning_tokens
      FROM spend_days_by_pair
     WHERE day_ms >= (SELECT since_ms FROM pairs_added_up)
       AND (cost_nanousd, saved_nanousd, generations, attempts, cache_hits, coalesced, prompt_tokens, completion_tokens,
            cached_tokens, reasoning_tokens) <> (0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
)
SELECT 'kept' AS by, found.* FROM (
    SELECT user_id, workflow, deployment, route, key_id, team, basis, outcome, day_ms, cost_nanousd, saved_nanousd, generations,
           attempts, cache_hits, coalesced, prompt_tokens, completion_tokens, cached_tokens, reasoning_tokens
      FROM kept
    EXCEPT
    SELECT user_id, workflow, deployment, route, key_id, team, basis, outcome, day_ms, cost_nanousd, saved_nanousd, generations,
           attempts, cache_hits, coalesced, prompt_tokens, completion_tokens, cached_tokens, reasoning_tokens
      FROM detail) AS found
 UNION ALL
SELECT 'lines', found.* FROM (
    SELECT user_id, workflow, deployment, route, key_id, team, basis, outcome, day_ms, cost_nanousd, saved_nanousd, generations,
           attempts, cache_hits, coalesced, prompt_tokens, completion_tokens, cached_tokens, reasoning_tokens
      FROM detail
    EXCEPT
    SELECT user_id, workflow, deployment, route, key_id, team, basis, outcome, day_ms, cost_nanousd, saved_nanousd, generations,
           attempts, cache_hits, coalesced, prompt_tokens, completion_tokens, cached_tokens, reasoning_tokens
      FROM kept) AS found;

-- name: reports: latency by the day is what its hours come to
WITH days AS MATERIALIZED (
    SELECT hour_ms - hour_ms % 86400000 AS day_ms, deployment, kind, bucket, SUM(count) AS count, SUM(sum_us) AS sum_us,
           MAX(max_us) AS max_us
      FROM latency_buckets
     GROUP BY hour_ms - hour_ms % 86400000, deployment, kind, bucket)
SELECT 'kept' AS by, kept.* FROM (
    SELECT day_ms, deployment, kind, bucket, count, sum_us, max_us FROM latency_days EXCEPT
    SELECT day_ms, deployment, kind, bucket, count, sum_us, max_us FROM days) AS kept
 UNION ALL
SELECT 'hours', hours.* FROM (
    SELECT day_ms, deployment, kind, bucket, count, sum_us, max_us FROM days EXCEPT
    SELECT day_ms, deployment, kind, bucket, count, sum_us, max_us FROM latency_days) AS hours;

-- name: alerts: whoever crossed a line was told of it
-- What a window looks out for is above what is spent in it, since the commit that spent it.
SELECT w.ceiling_id, w.starts_at_ms, w.spent_amount, w.limit_amount, w.warn_amount
  FROM ceiling_windows AS w
 WHERE w.spent_amount >= w.warn_amount;

-- name: stored responses are counted
SELECT t.entries, t.bytes, COUNT(r.cache_key) AS stored, COALESCE(SUM(length(r.body) + r.elsewhere_bytes), 0) AS stored_bytes
  FROM response_totals AS t
  LEFT JOIN responses AS r
HAVING t.entries <> COUNT(r.cache_key) OR t.bytes <> COALESCE(SUM(length(r.body) + r.elsewhere_bytes), 0);

-- name: an Idempotency-Key is in progress no longer than its call
-- A call's end and what it leaves under its key are one commit. The key of a lost call is anybody's to take.
SELECT k.caller, k.idempotency_key, k.generation_id, g.outcome
  FROM idempotency AS k CROSS JOIN generations AS g ON g.generation_id = k.generation_id
 WHERE k.state = 'in_progress' AND g.outcome IS NOT NULL AND g.outcome <> 'lost';
