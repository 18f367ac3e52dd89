-- Calls, their attempts, the links of attempts to windows and the lines of money, by month: what a month has is in four
-- tables of its own, so that what is old goes by dropping tables, which gives the disk back, and not row by row.
--
-- By which month. All four are cut by the id of the call, at the same ids: an id begins with the millisecond that the call
-- came in (`service.ids`), an attempt's id begins with its call's, and a line and a link name their attempt. So whatever
-- hangs off a call is in its call's month, however late it comes, a correction after a year too. And each rule that names
-- an id is an index's over all months, because the id is what they are cut by: a call is there once, an attempt is there
-- once, and it is closed once (invariants 3 and 6). Cut by the sequence of lines instead, their number would be an
-- index's, but nothing would keep an attempt from two closing lines, one on either side of a month's end.
--
-- What that leaves to say is that lines are numbered without a gap or a double. The number and digest of the newest one are
-- a row, which each further line moves on by exactly one: whoever else would move it waits, and then fails.
--
-- The tables of a part refer to one another, so that references go with it. Part `before` has what was there before there
-- were months, and `other` what no month is made for: ids of another make, and a month that nobody made in time. No line is
-- lost for want of a table.
--
-- How long it takes: a ledger that is there becomes `before` as it is. Nothing is copied, no index is built, and all locks
-- are held for some tens of milliseconds, whatever its size, as `ledger.postgres.prepare` has the server read beforehand,
-- in nobody's way, that every id belongs there.

SELECT version FROM ledger_turn WHERE id = 1 FOR UPDATE;
LOCK TABLE generations, holds, hold_windows, postings IN ACCESS EXCLUSIVE MODE;

CREATE TABLE newest_line (
    id bigint NOT NULL PRIMARY KEY CHECK (id = 1),
    seq bigint NOT NULL CHECK (seq >= 0),
    chain bytea NOT NULL CHECK (length(chain) = 32)
) WITH (fillfactor = 10);

INSERT INTO newest_line (id, seq, chain)
SELECT 1, COALESCE(MAX(seq), 0),
       COALESCE((SELECT chain FROM postings ORDER BY seq DESC LIMIT 1), decode(repeat('00', 32), 'hex'))
  FROM postings;

-- Which ids a part has: those of calls that came in [begins_ms, ends_ms). NULL, NULL: all that no other part has.
CREATE TABLE parts (
    part text COLLATE "C" NOT NULL PRIMARY KEY,
    begins_ms bigint UNIQUE,
    ends_ms bigint UNIQUE CHECK (ends_ms > begins_ms)
);

-- The first id of a millisecond: 26 digits of base32hex, the first ten of which are the moment. Source: `service.ids`.
CREATE FUNCTION first_id_of(moment_ms bigint) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT 'gen_' || string_agg(substr('0123456789abcdefghijklmnopqrstuv', 1 + CAST((moment_ms >> (5 * place)) & 31 AS integer),
                                       1), '' ORDER BY place DESC) || repeat('0', 16)
      FROM generate_series(0, 9) AS places (place)
$$;

-- When the month of a moment begins, or the one that is so many months after it.
CREATE FUNCTION month_of(moment_ms bigint, months_on integer) RETURNS bigint LANGUAGE sql IMMUTABLE AS $$
    SELECT CAST(EXTRACT(EPOCH FROM date_trunc('month', to_timestamp(moment_ms / 1000) AT TIME ZONE 'UTC')
                                   + make_interval(months => months_on)) AS bigint) * 1000
$$;

CREATE FUNCTION keep_rows() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    has_rows boolean;
BEGIN
    EXECUTE format('SELECT EXISTS (SELECT 1 FROM %I.%I)', TG_TABLE_SCHEMA, TG_TABLE_NAME) INTO has_rows;
    IF has_rows THEN
        RAISE EXCEPTION 'what a ledger has never vanishes at once' USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NULL;
END $$;

-- Put tables that are there in their places as a part. bounds: where they lie, as ATTACH PARTITION has it.
CREATE FUNCTION add_part(part text, bounds text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    whole text;
BEGIN
    FOREACH whole IN ARRAY ARRAY['generations', 'holds', 'hold_windows', 'postings'] LOOP
        EXECUTE format('ALTER TABLE %I ATTACH PARTITION %I %s', whole, whole || '_' || part, bounds);
        EXECUTE format('CREATE TRIGGER rows_never_vanish BEFORE TRUNCATE ON %I EXECUTE FUNCTION keep_rows()',
                       whole || '_' || part);
    END LOOP;
END $$;

-- Made apart, and then put in their places: whoever reads and writes is held up by the latter alone.
CREATE FUNCTION make_part(part text, bounds text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    whole text;
BEGIN
    FOREACH whole IN ARRAY ARRAY['generations', 'holds', 'hold_windows', 'postings'] LOOP
        EXECUTE format('CREATE TABLE %I (LIKE %I INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING INDEXES)',
                       whole || '_' || part, whole);
    END LOOP;
    EXECUTE format('ALTER TABLE %I ADD FOREIGN KEY (generation_id) REFERENCES %I', 'holds_' || part, 'generations_' || part);
    EXECUTE format('ALTER TABLE %I ADD FOREIGN KEY (hold_id) REFERENCES %I', 'hold_windows_' || part, 'holds_' || part);
    EXECUTE format('ALTER TABLE %I ADD FOREIGN KEY (hold_id) REFERENCES %I', 'postings_' || part, 'holds_' || part);
    EXECUTE format('ALTER TABLE %I ADD PRIMARY KEY (seq)', 'postings_' || part);
    PERFORM add_part(part, bounds);
END $$;

-- Make this month's part and the next one's, where there are none. How many were made. For whoever may write lines, who
-- need not be who owns the tables. A month that `other` has ids of stays there. Nobody is waited for.
CREATE FUNCTION make_months(now_ms bigint) RETURNS bigint LANGUAGE plpgsql SECURITY DEFINER SET lock_timeout = '250ms' AS $$
DECLARE
    made bigint := 0;
    first_ms bigint;
    end_ms bigint;
BEGIN
    IF NOT has_table_privilege(session_user, 'postings', 'INSERT') THEN
        RAISE EXCEPTION 'this role may not write to the ledger' USING ERRCODE = 'insufficient_privilege';
    END IF;
    FOR months_on IN 0..1 LOOP
        first_ms := month_of(now_ms, months_on);
        end_ms := month_of(now_ms, months_on + 1);
        CONTINUE WHEN EXISTS (SELECT 1 FROM parts WHERE begins_ms < end_ms AND ends_ms > first_ms)
                   OR EXISTS (SELECT 1 FROM generations_other
                               WHERE generation_id >= first_id_of(first_ms) AND generation_id < first_id_of(end_ms));
        BEGIN
            INSERT INTO parts (part, begins_ms, ends_ms)
            VALUES (to_char(to_timestamp(first_ms / 1000) AT TIME ZONE 'UTC', 'YYYY_MM'), first_ms, end_ms);
            PERFORM make_part(part, format('FOR VALUES FROM (%L) TO (%L)', first_id_of(begins_ms), first_id_of(ends_ms)))
               FROM parts WHERE begins_ms = first_ms;
            made := made + 1;
        EXCEPTION WHEN lock_not_available THEN
            EXIT;  -- Somebody reads: another time.
        END;
    END LOOP;
    RETURN made;
END $$;

-- Drop a part that a closing stands for: its calls came before the moment that was folded, none of them is open, and each
-- of its lines is in the balance. For whoever may delete lines.
CREATE FUNCTION drop_part(dropped text) RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET lock_timeout = '250ms' AS $$
DECLARE
    whole text;
    may_go boolean;
    bounds text;
BEGIN
    IF NOT has_table_privilege(session_user, 'postings', 'DELETE') THEN
        RAISE EXCEPTION 'this role may not prune the ledger' USING ERRCODE = 'insufficient_privilege';
    END IF;
    SELECT pg_get_expr(relpartbound, oid) INTO bounds FROM pg_class WHERE oid = to_regclass('generations_' || dropped);
    EXECUTE format('LOCK TABLE %I, %I, %I, %I IN ACCESS EXCLUSIVE MODE', 'generations_' || dropped, 'holds_' || dropped,
                   'hold_windows_' || dropped, 'postings_' || dropped);
    EXECUTE format('SELECT (SELECT ends_ms FROM parts WHERE part = %L) <= (SELECT MAX(before_ms) FROM closings)
                           AND COALESCE((SELECT MAX(seq) FROM %I) <= (SELECT MAX(through_seq) FROM closings), true)
                           AND NOT EXISTS (SELECT 1 FROM %I WHERE state = ''held'')
                           AND NOT EXISTS (SELECT 1 FROM %I WHERE outcome IS NULL)',
                   dropped, 'postings_' || dropped, 'holds_' || dropped, 'generations_' || dropped) INTO may_go;
    IF may_go IS NOT TRUE THEN
        RAISE EXCEPTION 'a part that is not folded never vanishes' USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    FOREACH whole IN ARRAY ARRAY['postings', 'hold_windows', 'holds', 'generations'] LOOP
        EXECUTE format('DROP TABLE %I', whole || '_' || dropped);
    END LOOP;
    IF dropped = 'before' THEN
        PERFORM make_part(dropped, bounds);  -- Empty: older calls may yet come, from another ledger.
    ELSE
        DELETE FROM parts WHERE part = dropped;
    END IF;
END $$;

-- The tables move over with all that stands on them, as it is: it is told of them once, where it was first made.
DO $$
DECLARE
    wholes text[] := ARRAY['generations', 'holds', 'hold_windows', 'postings'];
    shown text[] := ARRAY['counted_lines', 'lines_of_holds', 'named_generations', 'named_spend'];
    whole text;
    made record;
    again text[];
    grants text[];
    end_ms bigint;
    end_id text;
BEGIN
    -- How far the first part reaches: as far as the server was told to look, else to the end of what is there.
    SELECT CAST(substr(conname, 17) AS bigint) INTO end_ms FROM pg_constraint
     WHERE conrelid = 'generations'::regclass AND conname LIKE 'before\_month\_at\_%' AND convalidated;
    IF end_ms IS NULL THEN
        end_ms := month_of(CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS bigint),
                           CASE WHEN EXISTS (SELECT 1 FROM generations) THEN 1 ELSE 0 END);
    END IF;
    end_id := quote_literal(first_id_of(end_ms));
    IF GREATEST((SELECT MAX(generation_id) FROM generations), (SELECT MAX(hold_id) FROM holds),
                (SELECT MAX(hold_id) FROM hold_windows), (SELECT MAX(hold_id) FROM postings)) >= first_id_of(end_ms) THEN
        -- Ids of another make, which say nothing of months: all of it stays in one part.
        end_ms := 9223372036854775807;
        end_id := 'MAXVALUE';
    END IF;

    SELECT array_agg(format('GRANT %s ON %I TO %s', a.privilege_type, given.relname,
                            CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE a.grantee::regrole::text END))
      INTO grants
      FROM (SELECT relname, relacl FROM pg_class WHERE oid IN (SELECT to_regclass(name) FROM unnest(wholes || shown) AS n (name))
             UNION ALL
            SELECT also, relacl FROM pg_class, unnest(ARRAY['newest_line', 'parts']) AS also
             WHERE oid = 'postings'::regclass) AS given,
           aclexplode(given.relacl) AS a
     WHERE a.privilege_type IN ('SELECT', 'INSERT', 'UPDATE', 'DELETE');
    SELECT array_agg(format('CREATE VIEW %I AS %s', name, pg_get_viewdef(to_regclass(name))) ORDER BY place)
      INTO again FROM unnest(shown) WITH ORDINALITY AS v (name, place);
    DROP VIEW named_spend, named_generations, lines_of_holds, counted_lines;
    FOR made IN SELECT proname, pg_get_functiondef(oid) AS words FROM pg_proc
                 WHERE oid IN ('add_generation_to_hour'::regproc, 'add_generation_by_name'::regproc) LOOP
        EXECUTE format('DROP FUNCTION %I', made.proname);
        again := again || made.words;
    END LOOP;
    FOREACH whole IN ARRAY wholes LOOP
        FOR made IN SELECT tgname, pg_get_triggerdef(oid) AS words FROM pg_trigger
                     WHERE tgrelid = whole::regclass AND NOT tgisinternal LOOP
            EXECUTE format('DROP TRIGGER %I ON %I', made.tgname, whole);
            again := again || made.words;
        END LOOP;
        FOR made IN SELECT i.relname, pg_get_indexdef(i.oid) AS words
                      FROM pg_index AS x JOIN pg_class AS i ON i.oid = x.indexrelid
                     WHERE x.indrelid = whole::regclass AND NOT x.indisprimary LOOP
            EXECUTE format('ALTER INDEX %I RENAME TO %I', made.relname, made.relname || '_before');
            again := again || made.words;
        END LOOP;
        EXECUTE format('ALTER TABLE %I RENAME TO %I', whole, whole || '_before');
    END LOOP;

    CREATE TABLE generations (LIKE generations_before INCLUDING DEFAULTS INCLUDING CONSTRAINTS, PRIMARY KEY (generation_id))
        PARTITION BY RANGE (generation_id);
    CREATE TABLE holds (LIKE holds_before INCLUDING DEFAULTS INCLUDING CONSTRAINTS, PRIMARY KEY (hold_id))
        PARTITION BY RANGE (hold_id);
    CREATE TABLE hold_windows (
        LIKE hold_windows_before INCLUDING DEFAULTS INCLUDING CONSTRAINTS,
        PRIMARY KEY (hold_id, ceiling_id, starts_at_ms),
        FOREIGN KEY (ceiling_id, starts_at_ms) REFERENCES ceiling_windows (ceiling_id, starts_at_ms)
    ) PARTITION BY RANGE (hold_id);
    CREATE TABLE postings (LIKE postings_before INCLUDING DEFAULTS INCLUDING CONSTRAINTS) PARTITION BY RANGE (hold_id);
    FOREACH whole IN ARRAY wholes LOOP
        EXECUTE format('ALTER TABLE %I DROP CONSTRAINT IF EXISTS %I', whole, 'before_month_at_' || end_ms);
    END LOOP;
    FOREACH whole IN ARRAY again || COALESCE(grants, '{}') LOOP
        EXECUTE whole;
    END LOOP;
    INSERT INTO parts (part, begins_ms, ends_ms) VALUES ('before', -1, end_ms), ('other', NULL, NULL);
    PERFORM add_part('before', format('FOR VALUES FROM (MINVALUE) TO (%s)', end_id));
    FOREACH whole IN ARRAY wholes LOOP
        EXECUTE format('ALTER TABLE %I DROP CONSTRAINT IF EXISTS %I', whole || '_before', 'before_month_at_' || end_ms);
    END LOOP;
    PERFORM make_part('other', 'DEFAULT');
    -- Who runs these as another one finds no tables but the ledger's.
    EXECUTE format('ALTER FUNCTION make_months SET search_path = %I, pg_temp', current_schema());
    EXECUTE format('ALTER FUNCTION drop_part SET search_path = %I, pg_temp', current_schema());
END $$;

-- What reads a line, an attempt or a call by its id says which, so that the server looks in one part alone.

CREATE OR REPLACE FUNCTION follow_the_last_posting() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE newest_line SET seq = new.seq, chain = new.chain WHERE id = 1 AND seq = new.seq - 1;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'a posting follows the last one' USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN new;
END $$;

CREATE OR REPLACE FUNCTION add_up_a_line() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    h record;
BEGIN
    SELECT taken_at_ms, deployment, generation_id, outcome INTO h FROM holds WHERE hold_id = new.hold_id;
    PERFORM add_to_hour(ROW(h.taken_at_ms - h.taken_at_ms % 3600000, h.deployment, g.route, g.key_id, g.team,
                            new.cost_basis, h.outcome,
                            new.cost_nanousd, 0, 0, CASE new.kind WHEN 'correction' THEN 0 ELSE 1 END, 0, 0,
                            COALESCE(p.prompt_tokens, 0), COALESCE(p.completion_tokens, 0),
                            COALESCE(p.cache_read_tokens, 0), COALESCE(p.reasoning_tokens, 0))::spend_hours)
       FROM counted_lines AS p, generations AS g
      WHERE p.seq = new.seq AND p.hold_id = new.hold_id AND g.generation_id = h.generation_id;
    RETURN NULL;
END $$;

CREATE OR REPLACE FUNCTION add_up_a_line_by_name() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    h record;
BEGIN
    SELECT taken_at_ms, deployment, generation_id, outcome INTO h FROM holds WHERE hold_id = new.hold_id;
    PERFORM add_to_hour_of_name(ROW(g.dimension, h.taken_at_ms - h.taken_at_ms % 864000000, g.name, h.deployment, g.route,
                                    g.key_id, g.team, new.cost_basis, h.outcome,
                                    h.taken_at_ms - h.taken_at_ms % 3600000,
                                    new.cost_nanousd, 0, 0, CASE new.kind WHEN 'correction' THEN 0 ELSE 1 END, 0, 0,
                                    COALESCE(p.prompt_tokens, 0), COALESCE(p.completion_tokens, 0),
                                    COALESCE(p.cache_read_tokens, 0), COALESCE(p.reasoning_tokens, 0)
                                    )::spend_hours_by_name)
       FROM counted_lines AS p, named_generations AS g
      WHERE p.seq = new.seq AND p.hold_id = new.hold_id AND g.generation_id = h.generation_id;
    RETURN NULL;
END $$;
