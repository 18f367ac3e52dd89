-- name: generation
-- One call as it is on record. No row: there is none of this id.
SELECT generation_id, created_at_ms, route, stream, trace_id, key_id, team, user_id, workflow, run, tags, cache, served_by,
       deployment, outcome, cost_basis, saved_nanousd, estimated_prompt_tokens, finished_at_ms, latency_us, ttft_us,
       error_code
  FROM generations
 WHERE generation_id = :generation_id;

-- name: generations
-- At most :most calls that began in [:since_ms, :until_ms), newest first, before the one named. A filter of NULL: any.
SELECT generation_id, created_at_ms, route, stream, trace_id, key_id, team, user_id, workflow, run, tags, cache, served_by,
       deployment, outcome, cost_basis, saved_nanousd, estimated_prompt_tokens, finished_at_ms, latency_us, ttft_us,
       error_code
  FROM generations
 WHERE created_at_ms >= :since_ms AND created_at_ms < :until_ms
   AND (created_at_ms, generation_id) < (:before_ms, :before_id)
   AND (:model IS NULL OR deployment = :model)
   AND (:provider IS NULL OR substr(deployment, 1, instr(deployment, ':') - 1) = :provider)
   AND (:key IS NULL OR key_id = :key)
   AND (:team IS NULL OR team = :team)
   AND (:user IS NULL OR user_id = :user)
   AND (:workflow IS NULL OR workflow = :workflow)
   AND (:run IS NULL OR run = :run)
   AND (:route IS NULL OR route = :route)
   AND (:basis IS NULL OR COALESCE(cost_basis, 'unknown') = :basis)
   AND (:outcome IS NULL OR COALESCE(outcome, 'open') = :outcome)
   AND (:hour IS NULL OR strftime('%Y-%m-%dT%H:00:00Z', created_at_ms / 1000, 'unixepoch') = :hour)
   AND (:day IS NULL OR strftime('%Y-%m-%d', created_at_ms / 1000, 'unixepoch') = :day)
   AND (:month IS NULL OR strftime('%Y-%m', created_at_ms / 1000, 'unixepoch') = :month)
 ORDER BY created_at_ms DESC, generation_id DESC
 LIMIT :most;

-- name: attempts_of_generation
-- A hold is named after its generation, so that no index is needed.
SELECT hold_id, attempt, deployment, state, held_nanousd, held_tokens, price_version, outcome, status, latency_us, ttft_us, error,
       taken_at_ms, closed_at_ms, owner_id, queued_us, hedge
  FROM holds
 WHERE hold_id >= :generation_id || '.' AND hold_id < :generation_id || '/' AND generation_id = :generation_id
 ORDER BY attempt;

-- name: ceilings_of_generation
-- Under which ceilings each of its attempts took room.
SELECT DISTINCT hold_id, ceiling_id
  FROM hold_windows
 WHERE hold_id >= :generation_id || '.' AND hold_id < :generation_id || '/'
 ORDER BY hold_id, ceiling_id;

-- name: postings_of_generation
-- In two parts, because a closing line and corrections each have an index of their own.
SELECT postings.seq, postings.hold_id, postings.kind, postings.cost_nanousd, postings.cost_basis,
       postings.overrun_nanousd, postings.input_tokens, postings.cached_tokens, postings.cache_write_tokens,
       postings.output_tokens, postings.reasoning_tokens, postings.price_version, postings.posted_at_ms, postings.reason,
       postings.cache_write_1h_tokens, postings.input_audio_tokens, postings.cached_audio_tokens,
       postings.input_image_tokens, postings.output_audio_tokens, postings.output_image_tokens
  FROM holds
  JOIN postings ON postings.hold_id = holds.hold_id AND postings.kind <> 'correction'
 WHERE holds.hold_id >= :generation_id || '.' AND holds.hold_id < :generation_id || '/'
   AND holds.generation_id = :generation_id
 UNION ALL
SELECT postings.seq, postings.hold_id, postings.kind, postings.cost_nanousd, postings.cost_basis,
       postings.overrun_nanousd, postings.input_tokens, postings.cached_tokens, postings.cache_write_tokens,
       postings.output_tokens, postings.reasoning_tokens, postings.price_version, postings.posted_at_ms, postings.reason,
       postings.cache_write_1h_tokens, postings.input_audio_tokens, postings.cached_audio_tokens,
       postings.input_image_tokens, postings.output_audio_tokens, postings.output_image_tokens
  FROM holds
  JOIN postings ON postings.hold_id = holds.hold_id AND postings.kind = 'correction'
 WHERE holds.hold_id >= :generation_id || '.' AND holds.hold_id < :generation_id || '/'
   AND holds.generation_id = :generation_id
 ORDER BY 1;

-- name: spend_detail
-- Every attempt, correction and generation in [:since_ms, :until_ms), one row each, under the names that a report groups
-- by. An attempt and its corrections share the basis of its newest line.
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
       COALESCE(g.cost_basis, 'unknown'), COALESCE(g.outcome, 'open'), 0, 0, g.saved_nanousd, 1, 0, g.cache = 'hit',
       g.cache = 'coalesced', 0, 0, 0, 0
  FROM generations AS g
 WHERE g.created_at_ms >= :since_ms AND g.created_at_ms < :until_ms;

-- name: spend_hours
-- The same of whole hours, added up before; what is still open comes from its partial indexes. Both bounds full hours.
-- A user, workflow or run is told of what is open; of the rest see spend_hours_by_name.
SELECT hour_ms AS at_ms, deployment AS deployment, route AS route, key_id AS key_id, team AS team, '' AS user_id,
       '' AS workflow, '' AS run, basis AS basis, outcome AS outcome, cost_nanousd AS cost_nanousd, 0 AS held_nanousd,
       saved_nanousd AS saved_nanousd, generations AS generations, attempts AS attempts, cache_hits AS cache_hits,
       coalesced AS coalesced, prompt_tokens AS prompt_tokens, completion_tokens AS completion_tokens,
       cached_tokens AS cached_tokens, reasoning_tokens AS reasoning_tokens
  FROM spend_hours
 WHERE hour_ms >= :since_ms AND hour_ms < :until_ms
 UNION ALL
SELECT h.taken_at_ms, h.deployment, g.route, g.key_id, g.team, g.user_id, g.workflow, g.run, 'unknown', 'open', 0,
       h.held_nanousd, 0, 0, 1, 0, 0, 0, 0, 0, 0
  FROM holds AS h INDEXED BY open_holds
  JOIN generations AS g USING (generation_id)
 WHERE h.state = 'held' AND h.taken_at_ms >= :since_ms AND h.taken_at_ms < :until_ms
 UNION ALL
SELECT g.created_at_ms, g.deployment, g.route, g.key_id, g.team, g.user_id, g.workflow, g.run,
       COALESCE(g.cost_basis, 'unknown'), 'open', 0, 0, g.saved_nanousd, 1, 0, g.cache = 'hit', g.cache = 'coalesced',
       0, 0, 0, 0
  FROM generations AS g INDEXED BY open_generations
 WHERE g.outcome IS NULL AND g.created_at_ms >= :since_ms AND g.created_at_ms < :until_ms;

-- name: spend_hours_by_name
-- Of that, what is over, named a :dimension and belongs to this period; the name stands in all three places.
SELECT hour_ms AS at_ms, deployment AS deployment, route AS route, key_id AS key_id, team AS team, name AS user_id,
       name AS workflow, name AS run, basis AS basis, outcome AS outcome, cost_nanousd AS cost_nanousd, 0 AS held_nanousd,
       saved_nanousd AS saved_nanousd, generations AS generations, attempts AS attempts, cache_hits AS cache_hits,
       coalesced AS coalesced, prompt_tokens AS prompt_tokens, completion_tokens AS completion_tokens,
       cached_tokens AS cached_tokens, reasoning_tokens AS reasoning_tokens
  FROM spend_hours_by_name
 WHERE dimension = :dimension AND period_ms = :period_ms AND hour_ms >= :since_ms AND hour_ms < :until_ms;

-- name: spend_days_by_name
-- The same of whole days. Both bounds full days.
SELECT day_ms AS at_ms, deployment AS deployment, route AS route, key_id AS key_id, team AS team, name AS user_id,
       name AS workflow, name AS run, basis AS basis, outcome AS outcome, cost_nanousd AS cost_nanousd, 0 AS held_nanousd,
       saved_nanousd AS saved_nanousd, generations AS generations, attempts AS attempts, cache_hits AS cache_hits,
       coalesced AS coalesced, prompt_tokens AS prompt_tokens, completion_tokens AS completion_tokens,
       cached_tokens AS cached_tokens, reasoning_tokens AS reasoning_tokens
  FROM spend_days_by_name
 WHERE dimension = :dimension AND period_ms = :period_ms AND day_ms >= :since_ms AND day_ms < :until_ms;

-- name: spend_open
-- Of [:since_ms, :until_ms), what is still open, from its partial indexes.
SELECT h.taken_at_ms AS at_ms, h.deployment AS deployment, g.route AS route, g.key_id AS key_id, g.team AS team,
       g.user_id AS user_id, g.workflow AS workflow, g.run AS run, 'unknown' AS basis, 'open' AS outcome,
       0 AS cost_nanousd, h.held_nanousd AS held_nanousd, 0 AS saved_nanousd, 0 AS generations, 1 AS attempts,
       0 AS cache_hits, 0 AS coalesced, 0 AS prompt_tokens, 0 AS completion_tokens, 0 AS cached_tokens,
       0 AS reasoning_tokens
  FROM holds AS h INDEXED BY open_holds
  JOIN generations AS g USING (generation_id)
 WHERE h.state = 'held' AND h.taken_at_ms >= :since_ms AND h.taken_at_ms < :until_ms
 UNION ALL
SELECT g.created_at_ms, g.deployment, g.route, g.key_id, g.team, g.user_id, g.workflow, g.run,
       COALESCE(g.cost_basis, 'unknown'), 'open', 0, 0, g.saved_nanousd, 1, 0, g.cache = 'hit', g.cache = 'coalesced',
       0, 0, 0, 0
  FROM generations AS g INDEXED BY open_generations
 WHERE g.outcome IS NULL AND g.created_at_ms >= :since_ms AND g.created_at_ms < :until_ms;

-- name: spend_days_by_pair
-- What users and workflows spent together in whole days of this period and is over. Both bounds full days, or :until_ms how
-- far it is added up.
SELECT day_ms AS at_ms, deployment AS deployment, route AS route, key_id AS key_id, team AS team, user_id AS user_id,
       workflow AS workflow, '' AS run, basis AS basis, outcome AS outcome, cost_nanousd AS cost_nanousd, 0 AS held_nanousd,
       saved_nanousd AS saved_nanousd, generations AS generations, attempts AS attempts, cache_hits AS cache_hits,
       coalesced AS coalesced, prompt_tokens AS prompt_tokens, completion_tokens AS completion_tokens,
       cached_tokens AS cached_tokens, reasoning_tokens AS reasoning_tokens
  FROM spend_days_by_pair
 WHERE period_ms = :period_ms AND day_ms >= :since_ms AND day_ms < :until_ms;

-- name: periods_kept
-- The ten-day periods that touch [:since_ms, :until_ms) and in which anything of a :dimension was added up.
WITH RECURSIVE periods (period_ms) AS (
    SELECT MIN(period_ms) FROM spend_hours_by_name
     WHERE dimension = :dimension AND period_ms > CAST(:since_ms AS bigint) - 864000000
     UNION ALL
    SELECT (SELECT MIN(later.period_ms) FROM spend_hours_by_name AS later
             WHERE later.dimension = :dimension AND later.period_ms > periods.period_ms)
      FROM periods
     WHERE period_ms IS NOT NULL
)
SELECT period_ms FROM periods WHERE period_ms < :until_ms;

-- name: hours_of_name
-- The whole hours in [:since_ms, :until_ms) in which what is named :name spent anything. Both bounds full hours.
WITH RECURSIVE periods (period_ms) AS (
    SELECT MIN(period_ms) FROM spend_hours_by_name
     WHERE dimension = :dimension AND period_ms > CAST(:since_ms AS bigint) - 864000000
     UNION ALL
    SELECT (SELECT MIN(later.period_ms) FROM spend_hours_by_name AS later
             WHERE later.dimension = :dimension AND later.period_ms > periods.period_ms)
      FROM periods
     WHERE period_ms IS NOT NULL
)
SELECT DISTINCT hour_ms
  FROM spend_hours_by_name
 WHERE dimension = :dimension AND period_ms IN (SELECT period_ms FROM periods WHERE period_ms < :until_ms)
   AND name = :name AND hour_ms >= :since_ms AND hour_ms < :until_ms
 ORDER BY hour_ms;

-- name: hours_kept
-- The first and the last hour that anything was added up in; NULL: none.
SELECT (SELECT MIN(hour_ms) FROM spend_hours), (SELECT MAX(hour_ms) FROM spend_hours);

-- name: whole_hours
-- Counts of whole hours in [:since_ms, :until_ms), both full hours, added up to spans of :unit_ms.
SELECT deployment, kind, hour_ms / :unit_ms * :unit_ms AS span_ms, bucket, SUM(count), SUM(sum_us), MAX(max_us)
  FROM latency_buckets
 WHERE hour_ms >= :since_ms AND hour_ms < :until_ms
 GROUP BY deployment, span_ms, kind, bucket;

-- name: whole_days
-- The same of whole days, both full days.
SELECT deployment, kind, day_ms / :unit_ms * :unit_ms AS span_ms, bucket, SUM(count), SUM(sum_us), MAX(max_us)
  FROM latency_days
 WHERE day_ms >= :since_ms AND day_ms < :until_ms
 GROUP BY deployment, span_ms, kind, bucket;

-- name: each_hour
-- whole_hours where each hour stays apart: a row holds all its buckets and how many each counted, as JSON, for there are
-- a hundred of them. In the order of the table, so that nothing is sorted.
SELECT deployment, kind, hour_ms, SUM(count), SUM(sum_us), MAX(max_us), json_group_array(bucket), json_group_array(count)
  FROM latency_buckets
 WHERE hour_ms >= :since_ms AND hour_ms < :until_ms
 GROUP BY hour_ms, deployment, kind;

-- name: each_day
-- whole_days where each day stays apart.
SELECT deployment, kind, day_ms, SUM(count), SUM(sum_us), MAX(max_us), json_group_array(bucket), json_group_array(count)
  FROM latency_days
 WHERE day_ms >= :since_ms AND day_ms < :until_ms
 GROUP BY day_ms, deployment, kind;

-- name: single_attempts
-- The attempts of a part of an hour, one by one.
SELECT deployment, taken_at_ms, outcome, latency_us, ttft_us
  FROM holds
 WHERE taken_at_ms >= :since_ms AND taken_at_ms < :until_ms AND outcome IS NOT NULL AND outcome NOT IN ('aborted', 'lost');

-- name: refusals
-- How many calls were not admitted, in the whole hours that [:since_ms, :until_ms) touches.
SELECT COALESCE(SUM(count), 0)
  FROM refusals
 WHERE hour_ms > :since_ms - 3600000 AND hour_ms < :until_ms;

-- name: latest_calls
-- The :most calls that began last, the :most open ones that began last, those of the :most attempts that were begun last,
-- and those of :also (a JSON array of ids), oldest first. Tokens NULL: no attempt answered, or nobody knows.
WITH wanted (generation_id) AS MATERIALIZED (
    SELECT generation_id
      FROM (SELECT generation_id FROM generations ORDER BY created_at_ms DESC LIMIT :most)
     UNION
    SELECT generation_id
      FROM (SELECT generation_id FROM generations INDEXED BY open_generations
             WHERE outcome IS NULL ORDER BY created_at_ms DESC LIMIT :most)
     UNION
    SELECT generation_id
      FROM (SELECT generation_id FROM holds ORDER BY taken_at_ms DESC LIMIT :most)
     UNION
    SELECT value FROM json_each(:also)
), begun (generation_id, hold_id, attempt, deployment, outcome) AS MATERIALIZED (
    SELECT h.generation_id, h.hold_id, h.attempt, h.deployment, h.outcome
      FROM wanted AS w
     CROSS JOIN holds AS h
        ON h.hold_id >= w.generation_id || '.' AND h.hold_id < w.generation_id || '/' AND h.generation_id = w.generation_id
), charged (generation_id, outcome, cost_nanousd, prompt_tokens, completion_tokens) AS MATERIALIZED (
    SELECT b.generation_id, b.outcome, l.cost_nanousd, l.prompt_tokens, l.completion_tokens
      FROM begun AS b CROSS JOIN counted_lines AS l ON l.hold_id = b.hold_id AND l.kind <> 'correction'
     UNION ALL
    SELECT b.generation_id, b.outcome, l.cost_nanousd, l.prompt_tokens, l.completion_tokens
      FROM begun AS b CROSS JOIN counted_lines AS l ON l.hold_id = b.hold_id AND l.kind = 'correction'
), sums (generation_id, cost_nanousd, prompt_tokens, completion_tokens) AS MATERIALIZED (
    SELECT generation_id, SUM(cost_nanousd), SUM(CASE outcome WHEN 'ok' THEN prompt_tokens END),
           SUM(CASE outcome WHEN 'ok' THEN completion_tokens END)
      FROM charged
     GROUP BY generation_id
)
SELECT g.generation_id, g.created_at_ms, g.route, g.deployment, g.key_id, COALESCE(k.name, '') AS key_name, g.team,
       g.user_id, g.workflow, g.stream, g.cache, g.outcome, g.error_code, g.saved_nanousd, g.latency_us, g.ttft_us,
       g.trace_id, COALESCE(s.cost_nanousd, 0) AS cost_nanousd, s.prompt_tokens, s.completion_tokens,
       (SELECT COUNT(*) FROM begun AS b WHERE b.generation_id = g.generation_id) AS attempts,
       (SELECT b.deployment FROM begun AS b WHERE b.generation_id = g.generation_id ORDER BY b.attempt DESC LIMIT 1)
           AS tried
  FROM wanted AS w
 CROSS JOIN generations AS g ON g.generation_id = w.generation_id
  LEFT JOIN sums AS s ON s.generation_id = w.generation_id
  LEFT JOIN api_keys AS k ON k.key_id = g.key_id
 ORDER BY g.created_at_ms, g.generation_id;
