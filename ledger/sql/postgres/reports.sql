-- name: generations
SELECT generation_id, created_at_ms, route, stream, trace_id, key_id, team, user_id, workflow, run, tags, cache, served_by,
       deployment, outcome, cost_basis, saved_nanousd, estimated_prompt_tokens, finished_at_ms, latency_us, ttft_us,
       error_code
  FROM generations
 WHERE created_at_ms >= :since_ms AND created_at_ms < :until_ms
   AND (created_at_ms, generation_id) < (:before_ms, :before_id)
   AND (CAST(:model AS text) IS NULL OR deployment = :model)
   AND (CAST(:provider AS text) IS NULL OR split_part(deployment, ':', 1) = :provider)
   AND (CAST(:key AS text) IS NULL OR key_id = :key)
   AND (CAST(:team AS text) IS NULL OR team = :team)
   AND (CAST(:user AS text) IS NULL OR user_id = :user)
   AND (CAST(:workflow AS text) IS NULL OR workflow = :workflow)
   AND (CAST(:run AS text) IS NULL OR run = :run)
   AND (CAST(:route AS text) IS NULL OR route = :route)
   AND (CAST(:basis AS text) IS NULL OR COALESCE(cost_basis, 'unknown') = :basis)
   AND (CAST(:outcome AS text) IS NULL OR COALESCE(outcome, 'open') = :outcome)
   AND (CAST(:hour AS text) IS NULL
        OR to_char(to_timestamp(created_at_ms / 1000) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:00:00"Z"') = :hour)
   AND (CAST(:day AS text) IS NULL
        OR to_char(to_timestamp(created_at_ms / 1000) AT TIME ZONE 'UTC', 'YYYY-MM-DD') = :day)
   AND (CAST(:month AS text) IS NULL
        OR to_char(to_timestamp(created_at_ms / 1000) AT TIME ZONE 'UTC', 'YYYY-MM') = :month)
 ORDER BY created_at_ms DESC, generation_id DESC
 LIMIT :most;

-- name: spend_detail
SELECT h.taken_at_ms AS at_ms, h.deployment AS deployment, g.route AS route, g.key_id AS key_id, g.team AS team,
       g.user_id AS user_id, g.workflow AS workflow, g.run AS run,
       COALESCE((SELECT c.cost_basis FROM postings AS c WHERE c.hold_id = h.hold_id AND c.kind = 'correction'
                  ORDER BY c.seq DESC LIMIT 1),
                p.cost_basis, CASE h.state WHEN 'held' THEN 'unknown' ELSE 'free' END) AS basis,
       COALESCE(h.outcome, 'open') AS outcome,
       COALESCE(p.cost_nanousd, 0) AS cost_nanousd,
       CASE h.state WHEN 'held' THEN h.held_nanousd ELSE 0 END AS held_nanousd,
       0 AS saved_nanousd, 0 AS generations, 1 AS attempts, 0 AS cache_hits, 0 AS coalesced,
       p.prompt_tokens AS prompt_tokens, p.completion_tokens AS completion_tokens,
       p.cache_read_tokens AS cached_tokens, p.reasoning_tokens AS reasoning_tokens
  FROM holds AS h
  JOIN generations AS g USING (generation_id)
  LEFT JOIN counted_lines AS p ON p.hold_id = h.hold_id AND p.kind <> 'correction'
 WHERE h.taken_at_ms >= :since_ms AND h.taken_at_ms < :until_ms
 UNION ALL
SELECT h.taken_at_ms, h.deployment, g.route, g.key_id, g.team, g.user_id, g.workflow, g.run,
       (SELECT c.cost_basis FROM postings AS c WHERE c.hold_id = h.hold_id AND c.kind = 'correction'
         ORDER BY c.seq DESC LIMIT 1),
       h.outcome, p.cost_nanousd, 0, 0, 0, 0, 0, 0, p.prompt_tokens,
       p.completion_tokens, p.cache_read_tokens, p.reasoning_tokens
  FROM holds AS h
  JOIN counted_lines AS p ON p.hold_id = h.hold_id AND p.kind = 'correction'
  JOIN generations AS g USING (generation_id)
 WHERE h.taken_at_ms >= :since_ms AND h.taken_at_ms < :until_ms
 UNION ALL
SELECT g.created_at_ms, g.deployment, g.route, g.key_id, g.team, g.user_id, g.workflow, g.run,
       COALESCE(g.cost_basis, 'unknown'), COALESCE(g.outcome, 'open'), 0, 0, g.saved_nanousd, 1, 0,
       CAST(g.cache = 'hit' AS integer), CAST(g.cache = 'coalesced' AS integer), 0, 0, 0, 0
  FROM generations AS g
 WHERE g.created_at_ms >= :since_ms AND g.created_at_ms < :until_ms;

-- name: spend_hours
-- Each column is of one type in all three, or whole rows would be copied to make it so.
SELECT hour_ms AS at_ms, deployment AS deployment, route AS route, key_id AS key_id, team AS team, CAST('' AS text) AS user_id,
       CAST('' AS text) AS workflow, CAST('' AS text) AS run, basis AS basis, outcome AS outcome,
       cost_nanousd AS cost_nanousd, CAST(0 AS bigint) AS held_nanousd, saved_nanousd AS saved_nanousd,
       generations AS generations, attempts AS attempts, cache_hits AS cache_hits, coalesced AS coalesced,
       prompt_tokens AS prompt_tokens, completion_tokens AS completion_tokens, cached_tokens AS cached_tokens,
       reasoning_tokens AS reasoning_tokens
  FROM spend_hours
 WHERE hour_ms >= :since_ms AND hour_ms < :until_ms
 UNION ALL
SELECT h.taken_at_ms, h.deployment, g.route, g.key_id, g.team, g.user_id, g.workflow, g.run, CAST('unknown' AS text),
       CAST('open' AS text), CAST(0 AS bigint), h.held_nanousd, CAST(0 AS bigint), CAST(0 AS bigint), CAST(1 AS bigint),
       CAST(0 AS bigint), CAST(0 AS bigint), CAST(0 AS bigint), CAST(0 AS bigint), CAST(0 AS bigint), CAST(0 AS bigint)
  FROM holds AS h
  JOIN generations AS g USING (generation_id)
 WHERE h.state = 'held' AND h.taken_at_ms >= :since_ms AND h.taken_at_ms < :until_ms
 UNION ALL
SELECT g.created_at_ms, g.deployment, g.route, g.key_id, g.team, g.user_id, g.workflow, g.run,
       COALESCE(g.cost_basis, 'unknown'), CAST('open' AS text), CAST(0 AS bigint), CAST(0 AS bigint), g.saved_nanousd,
       CAST(1 AS bigint), CAST(0 AS bigint), CAST(CAST(g.cache = 'hit' AS integer) AS bigint),
       CAST(CAST(g.cache = 'coalesced' AS integer) AS bigint), CAST(0 AS bigint), CAST(0 AS bigint), CAST(0 AS bigint),
       CAST(0 AS bigint)
  FROM generations AS g
 WHERE g.outcome IS NULL AND g.created_at_ms >= :since_ms AND g.created_at_ms < :until_ms;

-- name: spend_open
SELECT h.taken_at_ms AS at_ms, h.deployment AS deployment, g.route AS route, g.key_id AS key_id, g.team AS team,
       g.user_id AS user_id, g.workflow AS workflow, g.run AS run, CAST('unknown' AS text) AS basis,
       CAST('open' AS text) AS outcome, CAST(0 AS bigint) AS cost_nanousd, h.held_nanousd AS held_nanousd,
       CAST(0 AS bigint) AS saved_nanousd, CAST(0 AS bigint) AS generations, CAST(1 AS bigint) AS attempts,
       CAST(0 AS bigint) AS cache_hits, CAST(0 AS bigint) AS coalesced, CAST(0 AS bigint) AS prompt_tokens,
       CAST(0 AS bigint) AS completion_tokens, CAST(0 AS bigint) AS cached_tokens, CAST(0 AS bigint) AS reasoning_tokens
  FROM holds AS h
  JOIN generations AS g USING (generation_id)
 WHERE h.state = 'held' AND h.taken_at_ms >= :since_ms AND h.taken_at_ms < :until_ms
 UNION ALL
SELECT g.created_at_ms, g.deployment, g.route, g.key_id, g.team, g.user_id, g.workflow, g.run,
       COALESCE(g.cost_basis, 'unknown'), CAST('open' AS text), CAST(0 AS bigint), CAST(0 AS bigint), g.saved_nanousd,
       CAST(1 AS bigint), CAST(0 AS bigint), CAST(CAST(g.cache = 'hit' AS integer) AS bigint),
       CAST(CAST(g.cache = 'coalesced' AS integer) AS bigint), CAST(0 AS bigint), CAST(0 AS bigint), CAST(0 AS bigint),
       CAST(0 AS bigint)
  FROM generations AS g
 WHERE g.outcome IS NULL AND g.created_at_ms >= :since_ms AND g.created_at_ms < :until_ms;

-- name: spend_days_by_name
SELECT day_ms AS at_ms, deployment AS deployment, route AS route, key_id AS key_id, team AS team, name AS user_id,
       name AS workflow, name AS run, basis AS basis, outcome AS outcome, cost_nanousd AS cost_nanousd, 0 AS held_nanousd,
       saved_nanousd AS saved_nanousd, generations AS generations, attempts AS attempts, cache_hits AS cache_hits,
       coalesced AS coalesced, prompt_tokens AS prompt_tokens, completion_tokens AS completion_tokens,
       cached_tokens AS cached_tokens, reasoning_tokens AS reasoning_tokens
  FROM spend_days_by_name
 WHERE dimension = :dimension AND period_ms >= :period_ms
   AND period_ms < CAST(:period_ms AS bigint) + CASE CAST(:unit_ms AS bigint) WHEN 0 THEN 7776000000 ELSE 864000000 END
   AND day_ms >= :since_ms AND day_ms < :until_ms;

-- name: spend_hours_by_name
SELECT hour_ms AS at_ms, deployment AS deployment, route AS route, key_id AS key_id, team AS team, name AS user_id,
       name AS workflow, name AS run, basis AS basis, outcome AS outcome, cost_nanousd AS cost_nanousd, 0 AS held_nanousd,
       saved_nanousd AS saved_nanousd, generations AS generations, attempts AS attempts, cache_hits AS cache_hits,
       coalesced AS coalesced, prompt_tokens AS prompt_tokens, completion_tokens AS completion_tokens,
       cached_tokens AS cached_tokens, reasoning_tokens AS reasoning_tokens
  FROM spend_hours_by_name
 WHERE dimension = :dimension AND period_ms >= :period_ms
   AND period_ms < CAST(:period_ms AS bigint) + CASE CAST(:unit_ms AS bigint) WHEN 0 THEN 7776000000 ELSE 864000000 END
   AND hour_ms >= :since_ms AND hour_ms < :until_ms;

-- name: periods_kept
-- Where no moments are told apart, nine of them are read at once: a name's sums travel once in ninety days then.
WITH RECURSIVE periods (period_ms) AS (
    SELECT MIN(period_ms) FROM spend_hours_by_name
     WHERE dimension = :dimension AND period_ms > CAST(:since_ms AS bigint) - 864000000
     UNION ALL
    SELECT (SELECT MIN(later.period_ms) FROM spend_hours_by_name AS later
             WHERE later.dimension = :dimension AND later.period_ms > periods.period_ms)
      FROM periods
     WHERE period_ms IS NOT NULL
)
SELECT DISTINCT period_ms - CASE CAST(:unit_ms AS bigint) WHEN 0 THEN period_ms % 7776000000 ELSE 0 END
  FROM periods
 WHERE period_ms < :until_ms;

-- name: each_hour
SELECT deployment, kind, hour_ms, SUM(count), SUM(sum_us), MAX(max_us),
       CAST(json_agg(bucket) AS text), CAST(json_agg(count) AS text)
  FROM latency_buckets
 WHERE hour_ms >= :since_ms AND hour_ms < :until_ms
 GROUP BY hour_ms, deployment, kind;

-- name: each_day
SELECT deployment, kind, day_ms, SUM(count), SUM(sum_us), MAX(max_us),
       CAST(json_agg(bucket) AS text), CAST(json_agg(count) AS text)
  FROM latency_days
 WHERE day_ms >= :since_ms AND day_ms < :until_ms
 GROUP BY day_ms, deployment, kind;

-- name: refusals
SELECT COALESCE(SUM(count), 0)
  FROM refusals
 WHERE hour_ms > CAST(:since_ms AS bigint) - 3600000 AND hour_ms < :until_ms;

-- name: latest_calls
WITH wanted (generation_id) AS MATERIALIZED (
    SELECT generation_id
      FROM (SELECT generation_id FROM generations ORDER BY created_at_ms DESC LIMIT :most) AS begun_last
     UNION
    SELECT generation_id
      FROM (SELECT generation_id FROM generations
             WHERE outcome IS NULL ORDER BY created_at_ms DESC LIMIT :most) AS still_open
     UNION
    SELECT generation_id
      FROM (SELECT generation_id FROM holds ORDER BY taken_at_ms DESC LIMIT :most) AS tried_last
     UNION
    SELECT jsonb_array_elements_text(CAST(:also AS jsonb))
), begun (generation_id, hold_id, attempt, deployment, outcome) AS MATERIALIZED (
    SELECT h.generation_id, h.hold_id, h.attempt, h.deployment, h.outcome
      FROM wanted AS w
      JOIN holds AS h ON h.generation_id = w.generation_id
), sums (generation_id, cost_nanousd, prompt_tokens, completion_tokens) AS MATERIALIZED (
    SELECT b.generation_id, SUM(l.cost_nanousd), SUM(CASE b.outcome WHEN 'ok' THEN l.prompt_tokens END),
           SUM(CASE b.outcome WHEN 'ok' THEN l.completion_tokens END)
      FROM begun AS b
      JOIN counted_lines AS l ON l.hold_id = b.hold_id
     GROUP BY b.generation_id
)
SELECT g.generation_id, g.created_at_ms, g.route, g.deployment, g.key_id, COALESCE(k.name, '') AS key_name, g.team,
       g.user_id, g.workflow, g.stream, g.cache, g.outcome, g.error_code, g.saved_nanousd, g.latency_us, g.ttft_us,
       g.trace_id, COALESCE(s.cost_nanousd, 0) AS cost_nanousd, s.prompt_tokens, s.completion_tokens,
       (SELECT COUNT(*) FROM begun AS b WHERE b.generation_id = g.generation_id) AS attempts,
       (SELECT b.deployment FROM begun AS b WHERE b.generation_id = g.generation_id ORDER BY b.attempt DESC LIMIT 1)
           AS tried
  FROM wanted AS w
  JOIN generations AS g ON g.generation_id = w.generation_id
  LEFT JOIN sums AS s ON s.generation_id = w.generation_id
  LEFT JOIN api_keys AS k ON k.key_id = g.key_id
 ORDER BY g.created_at_ms, g.generation_id;
