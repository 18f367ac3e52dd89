-- Statements of PostgreSQL alone: what is done before a migration, outside its transaction. See ledger/postgres/prepare.py.

-- name: promise_months
-- The rule, for every row to come, that what is there belongs to months before one that is not near yet; unless some of it
-- is of another make.
DO $$
DECLARE
    tables text[] := ARRAY['generations', 'holds', 'hold_windows', 'postings'];
    keys text[] := ARRAY['generation_id', 'hold_id', 'hold_id', 'hold_id'];
    end_ms bigint := CAST(EXTRACT(EPOCH FROM date_trunc('month', (clock_timestamp() + interval '1 day') AT TIME ZONE 'UTC')
                                             + interval '1 month') AS bigint) * 1000;
    end_id text;
BEGIN
    SELECT 'gen_' || string_agg(substr('0123456789abcdefghijklmnopqrstuv', 1 + CAST((end_ms >> (5 * place)) & 31 AS integer), 1),
                                '' ORDER BY place DESC) || repeat('0', 16)
      INTO end_id FROM generate_series(0, 9) AS places (place);
    IF EXISTS (SELECT 1 FROM pg_constraint WHERE conrelid = 'generations'::regclass AND conname LIKE 'before\_month\_at\_%')
       OR (SELECT MAX(generation_id) FROM generations) >= end_id OR (SELECT MAX(hold_id) FROM holds) >= end_id
       OR (SELECT MAX(hold_id) FROM hold_windows) >= end_id OR (SELECT MAX(hold_id) FROM postings) >= end_id
    THEN
        RETURN;
    END IF;
    FOR place IN 1..4 LOOP
        EXECUTE format('ALTER TABLE %I ADD CONSTRAINT %I CHECK (%I < %L) NOT VALID', tables[place],
                       'before_month_at_' || end_ms, keys[place], end_id);
    END LOOP;
END $$;

-- name: prove_months
-- That every row there is follows it: each table is read once, and nobody who reads or writes rows waits.
DO $$
DECLARE
    made record;
BEGIN
    FOR made IN SELECT conrelid::regclass AS whole, conname FROM pg_constraint
                 WHERE conname LIKE 'before\_month\_at\_%' AND NOT convalidated ORDER BY conrelid LOOP
        EXECUTE format('ALTER TABLE %s VALIDATE CONSTRAINT %I', made.whole, made.conname);
    END LOOP;
END $$;

-- name: withdraw_months
DO $$
DECLARE
    made record;
BEGIN
    FOR made IN SELECT conrelid::regclass AS whole, conname FROM pg_constraint WHERE conname LIKE 'before\_month\_at\_%' LOOP
        EXECUTE format('ALTER TABLE %s DROP CONSTRAINT %I', made.whole, made.conname);
    END LOOP;
END $$;
