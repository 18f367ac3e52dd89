-- Statements of PostgreSQL alone: what `migrations/0004_months.sql` made.

-- name: lacks_months
-- No row: this month and the next one have their parts, or began without and go on so.
SELECT 1
  FROM (SELECT month_of(CAST(:now_ms AS bigint), months) AS begins_ms, month_of(:now_ms, months + 1) AS ends_ms
          FROM generate_series(0, 1) AS ahead (months)) AS wanted
 WHERE NOT EXISTS (SELECT 1 FROM parts WHERE parts.begins_ms < wanted.ends_ms AND parts.ends_ms > wanted.begins_ms)
   AND NOT EXISTS (SELECT 1 FROM generations_other
                    WHERE generation_id >= first_id_of(wanted.begins_ms) AND generation_id < first_id_of(wanted.ends_ms));

-- name: make_months
SELECT make_months(:now_ms);

-- name: follow_newest_line
-- Where lines were added past their rules: from now on the next one follows the newest of them.
UPDATE newest_line
   SET (seq, chain) = (SELECT p.seq, p.chain FROM postings AS p ORDER BY p.seq DESC LIMIT 1)
 WHERE id = 1 AND EXISTS (SELECT 1 FROM postings);
