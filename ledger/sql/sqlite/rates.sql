-- name: hours_of_keys
-- What each key spent in each hour that begins in [:since_ms, :until_ms). Calls without a key are nobody's.
SELECT key_id, hour_ms, SUM(cost_nanousd)
  FROM spend_hours
 WHERE hour_ms >= :since_ms AND hour_ms < :until_ms AND key_id <> ''
 GROUP BY key_id, hour_ms
HAVING SUM(cost_nanousd) > 0;

-- name: spent_between
-- What was spent in the hours that begin in [:since_ms, :until_ms), by who may have a ceiling.
SELECT deployment, key_id, team, SUM(cost_nanousd)
  FROM spend_hours
 WHERE hour_ms >= :since_ms AND hour_ms < :until_ms
 GROUP BY deployment, key_id, team;
