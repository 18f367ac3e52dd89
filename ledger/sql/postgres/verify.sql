-- name: invariant 1: held + spent stays under the limit
WITH unasked AS MATERIALIZED (
    SELECT link.ceiling_id, link.starts_at_ms,
           SUM(CASE p.kind WHEN 'correction' THEN GREATEST(p.cost_nanousd, 0) ELSE p.overrun_nanousd END) AS cost_nanousd
      FROM postings AS p JOIN hold_windows AS link ON link.hold_id = p.hold_id
     WHERE p.overrun_nanousd > 0 OR p.kind = 'correction'
     GROUP BY link.ceiling_id, link.starts_at_ms)
SELECT w.ceiling_id, w.starts_at_ms, w.counts, w.held_amount, w.spent_amount, w.limit_amount, w.excused_amount,
       COALESCE(unasked.cost_nanousd, 0) AS unasked_nanousd
  FROM ceiling_windows AS w
  LEFT JOIN unasked ON unasked.ceiling_id = w.ceiling_id AND unasked.starts_at_ms = w.starts_at_ms
                   AND w.counts = 'nanousd'
 WHERE w.counts <> 'tokens' AND w.held_amount + w.spent_amount > w.excused_amount + COALESCE(unasked.cost_nanousd, 0);

-- name: invariant 1: held + spent stays under the limit, in tokens
WITH unasked AS MATERIALIZED (
    SELECT link.ceiling_id, link.starts_at_ms,
           SUM(GREATEST(CASE p.kind WHEN 'correction' THEN p.tokens ELSE p.tokens - h.held_tokens END, 0)) AS tokens
      FROM postings AS p
      JOIN holds AS h ON h.hold_id = p.hold_id
      JOIN hold_windows AS link ON link.hold_id = p.hold_id
     WHERE EXISTS (SELECT 1 FROM ceilings WHERE counts = 'tokens')
       AND (p.tokens > h.held_tokens OR p.kind = 'correction')
     GROUP BY link.ceiling_id, link.starts_at_ms)
SELECT w.ceiling_id, w.starts_at_ms, w.held_amount, w.spent_amount, w.limit_amount, w.excused_amount,
       COALESCE(unasked.tokens, 0) AS unasked_tokens
  FROM ceiling_windows AS w
  LEFT JOIN unasked ON unasked.ceiling_id = w.ceiling_id AND unasked.starts_at_ms = w.starts_at_ms
 WHERE w.counts = 'tokens' AND w.held_amount + w.spent_amount > w.excused_amount + COALESCE(unasked.tokens, 0);

-- name: invariant 2: held is the sum of open holds
WITH open AS MATERIALIZED (
    SELECT link.ceiling_id, link.starts_at_ms, SUM(h.held_nanousd) AS nanousd, SUM(h.held_tokens) AS tokens,
           COUNT(*) FILTER (WHERE h.attempt = 1) AS calls, COUNT(*) AS attempts
      FROM holds AS h JOIN hold_windows AS link ON link.hold_id = h.hold_id
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
      FROM postings AS p JOIN hold_windows AS link ON link.hold_id = p.hold_id
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
WITH over AS MATERIALIZED (
    SELECT link.ceiling_id, link.starts_at_ms, COUNT(*) FILTER (WHERE h.attempt = 1) AS calls,
           COUNT(*) FILTER (WHERE h.state <> 'released' OR h.status IS NOT NULL) AS attempts
      FROM holds AS h JOIN hold_windows AS link ON link.hold_id = h.hold_id
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

-- name: invariant 3: a closed hold has the closing line of its state
SELECT h.hold_id, h.state, p.kind AS closing_line
  FROM holds AS h
  LEFT JOIN postings AS p ON p.hold_id = h.hold_id AND p.kind <> 'correction'
 WHERE p.kind IS DISTINCT FROM CASE h.state WHEN 'settled' THEN 'settlement' WHEN 'lapsed' THEN 'lapse' END;

-- name: invariant 3: postings are numbered without a gap
-- And the next one follows the newest of them.
SELECT lines, first, last, folded_through, newest_line.seq AS newest
  FROM (SELECT COUNT(*) AS lines, MIN(seq) AS first, MAX(seq) AS last,
               (SELECT COALESCE(MAX(through_seq), 0) FROM closings) AS folded_through
          FROM postings) AS found
  LEFT JOIN newest_line ON newest_line.id = 1
 WHERE (lines > 0 AND (first <> folded_through + 1 OR last <> folded_through + lines))
    OR newest_line.seq IS DISTINCT FROM COALESCE(last, 0)
    OR (lines > 0 AND newest_line.chain IS DISTINCT FROM (SELECT chain FROM postings WHERE seq = last));

-- name: invariant 3: what was looked at is still there
SELECT audit.seq, (SELECT MAX(seq) FROM postings) AS last
  FROM audit
 WHERE audit.seq > (SELECT COALESCE(MAX(through_seq), 0) FROM closings)
   AND audit.chain IS DISTINCT FROM (SELECT chain FROM postings WHERE postings.seq = audit.seq);

-- name: invariant 5: a hold is in every window that counts it, or in none
SELECT h.hold_id, w.ceiling_id, w.starts_at_ms
  FROM ceiling_windows AS w
  JOIN ceilings AS c ON c.ceiling_id = w.ceiling_id AND c.active = 1
                    AND (w.ends_at_ms IS NULL OR w.ends_at_ms > c.since_ms)
  JOIN holds AS h ON h.taken_at_ms >= w.starts_at_ms AND (w.ends_at_ms IS NULL OR h.taken_at_ms < w.ends_at_ms)
 WHERE (c.scope = 'global'
        OR c.scope = 'model:' || h.deployment
        OR c.scope = 'provider:' || split_part(h.deployment, ':', 1))
   AND NOT EXISTS (SELECT 1 FROM hold_windows AS link
                    WHERE link.hold_id = h.hold_id AND link.ceiling_id = w.ceiling_id
                      AND link.starts_at_ms = w.starts_at_ms);

-- name: stored responses are counted
SELECT entries, bytes, stored, stored_bytes
  FROM response_totals,
       (SELECT COUNT(*) AS stored, COALESCE(SUM(length(body) + elsewhere_bytes), 0) AS stored_bytes FROM responses) AS found
 WHERE entries <> stored OR bytes <> stored_bytes;

-- name: an Idempotency-Key is in progress no longer than its call
SELECT k.caller, k.idempotency_key, k.generation_id, g.outcome
  FROM idempotency AS k JOIN generations AS g ON g.generation_id = k.generation_id
 WHERE k.state = 'in_progress' AND g.outcome IS NOT NULL AND g.outcome <> 'lost';

-- name: references lead somewhere
-- The server looks after them, but for who may tell it not to: a restore of a part, a superuser.
SELECT 'postings' AS "table", p.hold_id AS refers_to FROM postings AS p
 WHERE NOT EXISTS (SELECT 1 FROM holds WHERE holds.hold_id = p.hold_id)
 UNION ALL
SELECT 'holds', h.generation_id FROM holds AS h
 WHERE NOT EXISTS (SELECT 1 FROM generations WHERE generations.generation_id = h.generation_id)
 UNION ALL
SELECT 'hold_windows', link.hold_id FROM hold_windows AS link
 WHERE NOT EXISTS (SELECT 1 FROM holds WHERE holds.hold_id = link.hold_id)
 UNION ALL
SELECT 'hold_windows', link.ceiling_id FROM hold_windows AS link
 WHERE NOT EXISTS (SELECT 1 FROM ceiling_windows AS w
                    WHERE w.ceiling_id = link.ceiling_id AND w.starts_at_ms = link.starts_at_ms)
 UNION ALL
SELECT 'ceiling_windows', w.ceiling_id FROM ceiling_windows AS w
 WHERE NOT EXISTS (SELECT 1 FROM ceilings AS c WHERE c.ceiling_id = w.ceiling_id AND c.counts = w.counts)
 UNION ALL
SELECT 'api_key_routes', r.key_id FROM api_key_routes AS r
 WHERE NOT EXISTS (SELECT 1 FROM api_keys AS k WHERE k.key_id = r.key_id)
 UNION ALL
SELECT 'api_key_ceilings', c.key_id FROM api_key_ceilings AS c
 WHERE NOT EXISTS (SELECT 1 FROM api_keys AS k WHERE k.key_id = c.key_id)
 UNION ALL
SELECT 'deliveries', CAST(d.event_seq AS text) FROM deliveries AS d
 WHERE NOT EXISTS (SELECT 1 FROM events AS e WHERE e.seq = d.event_seq);
