-- Each statement finds the rows that break one rule; none is the proof that it holds.

-- name: invariant 1: held + spent stays under the limit
-- Above the highest limit it has had only through an overrun that a posting names, or a correction.
SELECT w.ceiling_id, w.starts_at_ms, w.held_nanousd, w.spent_nanousd, w.limit_nanousd, w.excused_nanousd
  FROM ceiling_windows AS w
 WHERE w.held_nanousd + w.spent_nanousd > w.excused_nanousd
   AND NOT EXISTS (
       SELECT 1 FROM hold_windows AS link JOIN postings AS p USING (hold_id)
        WHERE link.ceiling_id = w.ceiling_id AND link.starts_at_ms = w.starts_at_ms
          AND (p.overrun_nanousd > 0 OR p.kind = 'correction'));

-- name: invariant 2: held is the sum of open holds
SELECT w.ceiling_id, w.starts_at_ms, w.held_nanousd, COALESCE(SUM(h.held_nanousd), 0) AS open_holds_nanousd
  FROM ceiling_windows AS w
  LEFT JOIN hold_windows AS link USING (ceiling_id, starts_at_ms)
  LEFT JOIN holds AS h ON h.hold_id = link.hold_id AND h.state = 'held'
 GROUP BY w.ceiling_id, w.starts_at_ms
HAVING w.held_nanousd <> COALESCE(SUM(h.held_nanousd), 0);

-- name: invariant 2: spent is the sum of postings
SELECT w.ceiling_id, w.starts_at_ms, w.spent_nanousd, COALESCE(SUM(p.cost_nanousd), 0) AS postings_nanousd
  FROM ceiling_windows AS w
  LEFT JOIN hold_windows AS link USING (ceiling_id, starts_at_ms)
  LEFT JOIN postings AS p ON p.hold_id = link.hold_id
 GROUP BY w.ceiling_id, w.starts_at_ms
HAVING w.spent_nanousd <> COALESCE(SUM(p.cost_nanousd), 0);

-- name: invariant 3: a closed hold has the closing line of its state
SELECT h.hold_id, h.state, COUNT(p.seq) AS closing_lines
  FROM holds AS h
  LEFT JOIN postings AS p ON p.hold_id = h.hold_id AND p.kind <> 'correction'
 GROUP BY h.hold_id
HAVING COUNT(p.seq) <> CASE h.state WHEN 'settled' THEN 1 WHEN 'lapsed' THEN 1 ELSE 0 END
    OR (h.state = 'lapsed') <> (MAX(p.kind) IS 'lapse');

-- name: invariant 3: a posting names a hold
SELECT p.seq, p.hold_id FROM postings AS p WHERE NOT EXISTS (SELECT 1 FROM holds WHERE holds.hold_id = p.hold_id);

-- name: invariant 3: postings are numbered without a gap
SELECT COUNT(*) AS lines, MIN(seq) AS first, MAX(seq) AS last FROM postings
HAVING COUNT(*) > 0 AND (MIN(seq) <> 1 OR MAX(seq) <> COUNT(*));

-- name: invariant 5: a hold is in every window that counts it, or in none
-- Every ceiling in force whose window was open when the hold was taken and whose scope the deployment belongs to.
SELECT h.hold_id, w.ceiling_id, w.starts_at_ms
  FROM ceiling_windows AS w
  JOIN ceilings AS c ON c.ceiling_id = w.ceiling_id AND c.active = 1
  JOIN holds AS h ON h.taken_at_ms >= w.starts_at_ms AND (w.ends_at_ms IS NULL OR h.taken_at_ms < w.ends_at_ms)
 WHERE h.held_nanousd > 0
   AND (c.scope = 'global'
        OR c.scope = 'model:' || h.deployment
        OR c.scope = 'provider:' || substr(h.deployment, 1, instr(h.deployment, ':') - 1))
   AND NOT EXISTS (SELECT 1 FROM hold_windows AS link
                    WHERE link.hold_id = h.hold_id AND link.ceiling_id = w.ceiling_id
                      AND link.starts_at_ms = w.starts_at_ms);

-- name: stored responses are counted
SELECT t.entries, t.bytes, COUNT(r.cache_key) AS stored, COALESCE(SUM(length(r.body)), 0) AS stored_bytes
  FROM response_totals AS t
  LEFT JOIN responses AS r
HAVING t.entries <> COUNT(r.cache_key) OR t.bytes <> COALESCE(SUM(length(r.body)), 0);
