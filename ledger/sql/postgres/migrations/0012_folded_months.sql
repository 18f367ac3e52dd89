-- What each scope came to in attempts that were folded. What the table is for is said in sql/sqlite/schema.sql.
-- beside: 11
-- Older code does not fold here, for whoever folds knows this schema. A ceiling that it puts in force counts what is left of
-- detail, as it always did; taken out and put in by newer code, it counts the rest.

CREATE TABLE folded_months (
    scope text COLLATE "C" NOT NULL,
    month_ms bigint NOT NULL,
    nanousd bigint NOT NULL,
    tokens bigint NOT NULL,
    calls bigint NOT NULL,
    attempts bigint NOT NULL,
    PRIMARY KEY (scope, month_ms)
);

-- The scopes of an attempt, as `ledger.ceilings.scopes_of` has them.
CREATE FUNCTION scopes_of(deployment text, key_id text, team text, user_id text, workflow text, run text)
RETURNS SETOF text LANGUAGE sql IMMUTABLE AS $$
    SELECT 'global'
     UNION ALL SELECT 'provider:' || split_part(deployment, ':', 1)
     UNION ALL SELECT 'model:' || deployment
     UNION ALL SELECT kind || ':' || CASE ltrim(name, '\') WHEN '*' THEN '\' || name ELSE name END
      FROM (VALUES ('key', key_id), ('team', team), ('user', user_id), ('workflow', workflow), ('run', run))
        AS named (kind, name)
     WHERE name <> ''
$$;

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
