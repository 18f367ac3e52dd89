-- name: folded_in_span
-- What a scope came to in attempts that were begun in whole months and are folded, in what a ceiling counts.
SELECT CAST(COALESCE(SUM(CASE :counts WHEN 'nanousd' THEN nanousd WHEN 'tokens' THEN tokens
                                      WHEN 'attempts' THEN attempts ELSE calls END), 0) AS bigint)
  FROM folded_months
 WHERE scope = :scope AND month_ms >= :starts_at_ms
   AND (CAST(:ends_at_ms AS bigint) IS NULL OR month_ms < :ends_at_ms);

-- name: folded_in_window
-- What a ceiling's window has been told of it. No row: there is no such window yet.
SELECT folded_amount FROM ceiling_windows WHERE ceiling_id = :ceiling_id AND starts_at_ms = :starts_at_ms;
