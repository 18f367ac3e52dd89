-- What each scope came to in attempts that were folded.

-- What each scope came to in attempts that were folded, in each month of UTC that they were begun in, and in all that a
-- ceiling may count: a ceiling that comes into force later starts with it (`ledger.operations.folded`). Scopes as in
-- `ceilings`. Month 0: in no month that is known.
CREATE TABLE folded_months (
    scope TEXT NOT NULL,
    month_ms INTEGER NOT NULL,
    nanousd INTEGER NOT NULL,
    tokens INTEGER NOT NULL,
    calls INTEGER NOT NULL,
    attempts INTEGER NOT NULL,
    PRIMARY KEY (scope, month_ms)
) STRICT, WITHOUT ROWID;

-- Of what was folded before, it is known what the windows that never end had counted of it, and what all of it cost.
INSERT INTO folded_months (scope, month_ms, nanousd, tokens, calls, attempts)
SELECT c.scope, 0, SUM(CASE w.counts WHEN 'nanousd' THEN w.folded_amount ELSE 0 END),
       SUM(CASE w.counts WHEN 'tokens' THEN w.folded_amount ELSE 0 END),
       SUM(CASE w.counts WHEN 'calls' THEN w.folded_amount ELSE 0 END),
       SUM(CASE w.counts WHEN 'attempts' THEN w.folded_amount ELSE 0 END)
  FROM ceiling_windows AS w
  JOIN ceilings AS c ON c.ceiling_id = w.ceiling_id
 WHERE w.ends_at_ms IS NULL AND w.folded_amount <> 0
 GROUP BY c.scope;

INSERT INTO folded_months (scope, month_ms, nanousd, tokens, calls, attempts)
SELECT 'global', 0, cost_nanousd, 0, 0, 0
  FROM closings
 WHERE through_seq = (SELECT MAX(through_seq) FROM closings)
   AND NOT EXISTS (SELECT 1 FROM ceilings WHERE ceiling_id = 'total global' AND active = 1)
    ON CONFLICT (scope, month_ms) DO UPDATE SET nanousd = excluded.nanousd;
