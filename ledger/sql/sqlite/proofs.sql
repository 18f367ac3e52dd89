-- What proves a rule in one pass over its tables, added up part by part: small sorts are quick ones. Where a proof fails,
-- the rule's own statement in verify.sql tells the rows.

-- name: note_corrected
-- The basis of each corrected attempt's newest line, at hand: few are.
CREATE TEMP TABLE corrected (hold_id TEXT NOT NULL PRIMARY KEY, cost_basis TEXT NOT NULL) STRICT, WITHOUT ROWID;

-- name: corrected
INSERT OR REPLACE INTO temp.corrected (hold_id, cost_basis)
SELECT hold_id, cost_basis FROM postings WHERE kind = 'correction' ORDER BY seq;

-- name: is_corrected_noted
-- No row: it is not, on this connection.
SELECT 1 FROM temp.sqlite_master WHERE name = 'corrected';

-- name: weigh_lines
-- The lines in (:after_seq, :through_seq] in one number (`ledger.sqlite.weights`); again with the weights of the users,
-- workflows and runs that they were for, by the hour, and, where all detail is there, by the day; of those that are added up
-- by pair, by the day with the weights of users and workflows together; and what their holds' links to windows come to
-- (`ledger.sqlite.links`). Then how many lines they are, how many have a hold and a generation, how many are the closing line
-- of their hold's state, how many any closing line, how many have no weight, though their hour is all there; how many
-- generations were weighed with them, how many of theirs still have to be, and the list of those.
-- A generation that has ended is weighed with the closing line of its first attempt, which is named after it; but if it has
-- another place or moment, by itself. Tokens are as counted_lines has them. (What has a LIMIT is not merged into the query
-- around it: each weighing is done once.)
WITH line AS (
    SELECT (p.cost_nanousd % 2147483647 * :cost_nanousd + (p.kind <> 'correction') * :attempts
            + COALESCE(p.input_tokens + p.cached_tokens + p.cache_write_tokens + COALESCE(p.cache_write_1h_tokens, 0)
                       + COALESCE(p.input_audio_tokens, 0) + COALESCE(p.cached_audio_tokens, 0)
                       + COALESCE(p.input_image_tokens, 0), 0) % 2147483647 * :prompt_tokens
            + COALESCE(p.output_tokens + p.reasoning_tokens + COALESCE(p.output_audio_tokens, 0)
                       + COALESCE(p.output_image_tokens, 0), 0) % 2147483647 * :completion_tokens
            + COALESCE(p.cached_tokens + COALESCE(p.cached_audio_tokens, 0), 0) % 2147483647 * :cached_tokens
            + COALESCE(p.reasoning_tokens, 0) % 2147483647 * :reasoning_tokens
            + CASE WHEN g.outcome IS NOT NULL AND p.kind <> 'correction' AND p.hold_id = h.generation_id || '.1'
                    AND g.created_at_ms = h.taken_at_ms AND g.deployment = h.deployment AND g.outcome = h.outcome
                    AND g.cost_basis = COALESCE(c.cost_basis, p.cost_basis)
              THEN g.saved_nanousd % 2147483647 * :saved_nanousd + :generations + (g.cache = 'hit') * :cache_hits
                   + (g.cache = 'coalesced') * :coalesced ELSE 0 END) % 2147483647
           * place.weight % 2147483647 AS placed,
           hour.weight, hour.day_weight,
           h.taken_at_ms >= :paired_since_ms AND h.taken_at_ms < :paired_until_ms AS is_paired,
           names_weight(g.user_id, g.workflow, g.run) AS named,
           (SELECT SUM(CASE window.counts WHEN 'nanousd' THEN p.cost_nanousd % 2147483647
                                          WHEN 'tokens' THEN p.tokens % 2147483647
                                          WHEN 'attempts' THEN p.kind <> 'correction'
                                          ELSE p.kind <> 'correction' AND h.attempt = 1 END * window.amount % 2147483647
                       + CASE WHEN p.kind = 'correction' THEN 0
                              WHEN h.taken_at_ms >= window.starts_at_ms AND h.taken_at_ms < window.ends_at_ms
                               AND h.deployment BETWEEN window.first_deployment AND window.last_deployment
                              THEN window.inside ELSE window.outside END)
              FROM hold_windows AS link
             CROSS JOIN temp.window_weights AS window
                ON window.ceiling_id = link.ceiling_id AND window.starts_at_ms = link.starts_at_ms
             WHERE link.hold_id = p.hold_id) AS linked,
           g.generation_id IS NOT NULL AS is_there, p.kind <> 'correction' AS is_closing,
           p.kind = CASE h.state WHEN 'settled' THEN 'settlement' WHEN 'lapsed' THEN 'lapse' ELSE '' END AS closes,
           h.taken_at_ms >= :since_ms AS is_whole,
           CASE WHEN g.outcome IS NOT NULL AND p.kind <> 'correction' AND p.hold_id = h.generation_id || '.1'
           THEN CASE WHEN g.created_at_ms = h.taken_at_ms AND g.deployment = h.deployment AND g.outcome = h.outcome
                      AND g.cost_basis = COALESCE(c.cost_basis, p.cost_basis)
                THEN '' ELSE g.generation_id END
           END AS call
      FROM postings AS p
      LEFT JOIN holds AS h ON h.hold_id = p.hold_id
      LEFT JOIN generations AS g ON g.generation_id = h.generation_id
      LEFT JOIN temp.corrected AS c ON c.hold_id = p.hold_id
      LEFT JOIN temp.hour_weights AS hour ON hour.hour_ms = h.taken_at_ms - h.taken_at_ms % 3600000
      LEFT JOIN temp.place_weights AS place
        ON place.deployment = h.deployment AND place.route = g.route AND place.key_id = g.key_id
       AND place.team = g.team AND place.basis = COALESCE(c.cost_basis, p.cost_basis) AND place.outcome = h.outcome
     WHERE p.seq > :after_seq AND p.seq <= :through_seq
     LIMIT -1
)
SELECT SUM(placed * weight % 2147483647),
       SUM(placed * weight % 2147483647 * (named & 2147483647) % 2147483647),
       SUM(CASE WHEN weight IS NOT NULL
           THEN placed * day_weight % 2147483647 * (named & 2147483647) % 2147483647 END),
       SUM(CASE WHEN is_paired THEN placed * day_weight % 2147483647 * (named >> 31) % 2147483647 END),
       SUM(linked), COUNT(*), SUM(is_there), SUM(closes), SUM(is_closing), SUM(placed * weight IS NULL AND is_whole),
       SUM(call = ''), SUM(call <> ''), json_group_array(call) FILTER (WHERE call <> '')
  FROM line;

-- name: weigh_holds
-- The same of attempts that have no closing line: open ones, which weigh nothing, and those that cost nothing. Generations
-- whose first attempt is one of them are weighed by themselves.
WITH attempt AS (
    SELECT :attempts * place.weight % 2147483647 AS placed, hour.weight, hour.day_weight,
           h.taken_at_ms >= :paired_since_ms AND h.taken_at_ms < :paired_until_ms AS is_paired,
           names_weight(g.user_id, g.workflow, g.run) AS named,
           (SELECT SUM(CASE window.counts WHEN 'attempts' THEN h.state = 'released' AND h.status IS NOT NULL
                                          WHEN 'calls' THEN h.state = 'released' AND h.attempt = 1
                                          ELSE 0 END * window.amount % 2147483647
                       + CASE WHEN h.taken_at_ms >= window.starts_at_ms AND h.taken_at_ms < window.ends_at_ms
                               AND h.deployment BETWEEN window.first_deployment AND window.last_deployment
                              THEN window.inside ELSE window.outside END)
              FROM hold_windows AS link
             CROSS JOIN temp.window_weights AS window
                ON window.ceiling_id = link.ceiling_id AND window.starts_at_ms = link.starts_at_ms
             WHERE link.hold_id = h.hold_id) AS linked,
           g.generation_id IS NOT NULL AS is_there,
           h.taken_at_ms >= :since_ms AND NOT (h.state = 'held' AND h.outcome IS NULL) AS is_whole,
           CASE WHEN g.outcome IS NOT NULL AND h.hold_id = h.generation_id || '.1' THEN g.generation_id END AS call
      FROM holds AS h
      LEFT JOIN generations AS g ON g.generation_id = h.generation_id
      LEFT JOIN temp.corrected AS c ON c.hold_id = h.hold_id
      LEFT JOIN temp.hour_weights AS hour ON hour.hour_ms = h.taken_at_ms - h.taken_at_ms % 3600000
      LEFT JOIN temp.place_weights AS place
        ON place.deployment = h.deployment AND place.route = g.route AND place.key_id = g.key_id
       AND place.team = g.team AND place.basis = COALESCE(c.cost_basis, 'free') AND place.outcome = h.outcome
     WHERE h.state = 'held' OR h.state = 'released'
     LIMIT -1
)
SELECT SUM(placed * weight % 2147483647),
       SUM(placed * weight % 2147483647 * (named & 2147483647) % 2147483647),
       SUM(CASE WHEN weight IS NOT NULL
           THEN placed * day_weight % 2147483647 * (named & 2147483647) % 2147483647 END),
       SUM(CASE WHEN is_paired THEN placed * day_weight % 2147483647 * (named >> 31) % 2147483647 END),
       SUM(linked), COUNT(*), SUM(is_there), SUM(placed * weight IS NULL AND is_whole),
       COUNT(call), json_group_array(call) FILTER (WHERE call IS NOT NULL)
  FROM attempt;

-- name: generations_apart
-- The generations in (:after_id, :through_id] that have ended and have no first attempt: how many, and the list of them. What
-- another call answered has no attempt; of all else there is one, if all is well, so that it need not be looked for:
-- is_shared says which of the two to look at.
SELECT COUNT(*), json_group_array(g.generation_id)
  FROM generations AS g
 WHERE g.generation_id > :after_id AND g.generation_id <= :through_id AND g.outcome IS NOT NULL
   AND (g.cache = 'hit' OR g.cache = 'coalesced') = :is_shared
   AND NOT EXISTS (SELECT 1 FROM holds AS h
                    WHERE h.hold_id = g.generation_id || '.1' AND h.generation_id = g.generation_id);

-- name: weigh_generations
-- The generations of a list, which have ended, as weigh_lines has them; how many have no weight, though their hour is all
-- there, and how many they are.
WITH ended AS (
    SELECT (g.saved_nanousd % 2147483647 * :saved_nanousd + :generations + (g.cache = 'hit') * :cache_hits
            + (g.cache = 'coalesced') * :coalesced) % 2147483647 * place.weight % 2147483647 AS placed,
           hour.weight, hour.day_weight,
           g.created_at_ms >= :paired_since_ms AND g.created_at_ms < :paired_until_ms AS is_paired,
           names_weight(g.user_id, g.workflow, g.run) AS named, g.created_at_ms >= :since_ms AS is_whole
      FROM json_each(:ids) AS listed
     CROSS JOIN generations AS g ON g.generation_id = listed.value
      LEFT JOIN temp.hour_weights AS hour ON hour.hour_ms = g.created_at_ms - g.created_at_ms % 3600000
      LEFT JOIN temp.place_weights AS place
        ON place.deployment = g.deployment AND place.route = g.route AND place.key_id = g.key_id
       AND place.team = g.team AND place.basis = COALESCE(g.cost_basis, 'unknown') AND place.outcome = g.outcome
     LIMIT -1
)
SELECT SUM(placed * weight % 2147483647),
       SUM(placed * weight % 2147483647 * (named & 2147483647) % 2147483647),
       SUM(CASE WHEN weight IS NOT NULL
           THEN placed * day_weight % 2147483647 * (named & 2147483647) % 2147483647 END),
       SUM(CASE WHEN is_paired THEN placed * day_weight % 2147483647 * (named >> 31) % 2147483647 END),
       SUM(placed * weight IS NULL AND is_whole), COUNT(*)
  FROM ended;

-- name: ended_generations
-- How many there are.
SELECT COUNT(*) FROM generations WHERE outcome IS NOT NULL;

-- name: generation_of_line
-- Of this number. No row: there is no such line, or it has no hold.
SELECT h.generation_id FROM postings AS p CROSS JOIN holds AS h ON h.hold_id = p.hold_id WHERE p.seq = :seq;

-- name: last_generation
-- NULL: there is none.
SELECT MAX(generation_id) FROM generations;

-- name: weigh_hours_kept
SELECT SUM((kept.cost_nanousd % 2147483647 * :cost_nanousd + kept.saved_nanousd % 2147483647 * :saved_nanousd
                + kept.generations % 2147483647 * :generations + kept.attempts % 2147483647 * :attempts
                + kept.cache_hits % 2147483647 * :cache_hits + kept.coalesced % 2147483647 * :coalesced
                + kept.prompt_tokens % 2147483647 * :prompt_tokens
                + kept.completion_tokens % 2147483647 * :completion_tokens
                + kept.cached_tokens % 2147483647 * :cached_tokens
                + kept.reasoning_tokens % 2147483647 * :reasoning_tokens) % 2147483647
           * hour.weight % 2147483647 * place.weight % 2147483647)
  FROM spend_hours AS kept
  LEFT JOIN temp.hour_weights AS hour ON hour.hour_ms = kept.hour_ms
  LEFT JOIN temp.place_weights AS place
        ON place.deployment = kept.deployment AND place.route = kept.route AND place.key_id = kept.key_id
       AND place.team = kept.team AND place.basis = kept.basis AND place.outcome = kept.outcome;

-- name: weigh_names_kept
-- What is kept of a :dimension in a period: where all detail is there, as weigh_lines has it; where it is not, by its day;
-- and how much of it has no weight. What is added up first stands together.
WITH named AS (
    SELECT kept.name, kept.deployment, kept.route, kept.key_id, kept.team, kept.basis, kept.outcome,
           SUM((kept.cost_nanousd % 2147483647 * :cost_nanousd + kept.saved_nanousd % 2147483647 * :saved_nanousd
                + kept.generations % 2147483647 * :generations + kept.attempts % 2147483647 * :attempts
                + kept.cache_hits % 2147483647 * :cache_hits + kept.coalesced % 2147483647 * :coalesced
                + kept.prompt_tokens % 2147483647 * :prompt_tokens
                + kept.completion_tokens % 2147483647 * :completion_tokens
                + kept.cached_tokens % 2147483647 * :cached_tokens
                + kept.reasoning_tokens % 2147483647 * :reasoning_tokens) % 2147483647
               * hour.weight % 2147483647) % 2147483647 AS by_hour,
           SUM(CASE WHEN hour.weight IS NULL
               THEN (kept.cost_nanousd % 2147483647 * :cost_nanousd + kept.saved_nanousd % 2147483647 * :saved_nanousd
                + kept.generations % 2147483647 * :generations + kept.attempts % 2147483647 * :attempts
                + kept.cache_hits % 2147483647 * :cache_hits + kept.coalesced % 2147483647 * :coalesced
                + kept.prompt_tokens % 2147483647 * :prompt_tokens
                + kept.completion_tokens % 2147483647 * :completion_tokens
                + kept.cached_tokens % 2147483647 * :cached_tokens
                + kept.reasoning_tokens % 2147483647 * :reasoning_tokens) % 2147483647
               * hour.day_weight % 2147483647 END) % 2147483647 AS by_day,
           COUNT(*) - COUNT(hour.day_weight) AS strangers
      FROM spend_hours_by_name AS kept
      LEFT JOIN temp.hour_weights AS hour ON hour.hour_ms = kept.hour_ms
     WHERE kept.dimension = :dimension AND kept.period_ms = :period_ms
     GROUP BY kept.name, kept.deployment, kept.route, kept.key_id, kept.team, kept.basis, kept.outcome
)
SELECT SUM(by_hour * place.weight % 2147483647 * name_weight(:dimension, name) % 2147483647),
       SUM(by_day * place.weight % 2147483647 * name_weight(:dimension, name) % 2147483647),
       SUM(strangers + (place.weight IS NULL))
  FROM named
  LEFT JOIN temp.place_weights AS place
        ON place.deployment = named.deployment AND place.route = named.route AND place.key_id = named.key_id
       AND place.team = named.team AND place.basis = named.basis AND place.outcome = named.outcome;

-- name: weigh_days_kept
-- What is kept of a :dimension by the day, as above.
WITH named AS (
    SELECT (kept.cost_nanousd % 2147483647 * :cost_nanousd + kept.saved_nanousd % 2147483647 * :saved_nanousd
                + kept.generations % 2147483647 * :generations + kept.attempts % 2147483647 * :attempts
                + kept.cache_hits % 2147483647 * :cache_hits + kept.coalesced % 2147483647 * :coalesced
                + kept.prompt_tokens % 2147483647 * :prompt_tokens
                + kept.completion_tokens % 2147483647 * :completion_tokens
                + kept.cached_tokens % 2147483647 * :cached_tokens
                + kept.reasoning_tokens % 2147483647 * :reasoning_tokens) % 2147483647
           * day.weight % 2147483647 * place.weight % 2147483647 * name_weight(:dimension, kept.name) % 2147483647 AS weighed
      FROM spend_days_by_name AS kept
      LEFT JOIN temp.day_weights AS day ON day.day_ms = kept.day_ms
      LEFT JOIN temp.place_weights AS place
        ON place.deployment = kept.deployment AND place.route = kept.route AND place.key_id = kept.key_id
       AND place.team = kept.team AND place.basis = kept.basis AND place.outcome = kept.outcome
     WHERE kept.dimension = :dimension
     LIMIT -1
)
SELECT SUM(weighed), SUM(weighed IS NULL) FROM named;

-- name: weigh_pairs_kept
-- What is kept of users and workflows together, of the days that are added up, as weigh_lines has it, and how much of it
-- has no weight.
WITH paired AS (
    SELECT (kept.cost_nanousd % 2147483647 * :cost_nanousd + kept.saved_nanousd % 2147483647 * :saved_nanousd
                + kept.generations % 2147483647 * :generations + kept.attempts % 2147483647 * :attempts
                + kept.cache_hits % 2147483647 * :cache_hits + kept.coalesced % 2147483647 * :coalesced
                + kept.prompt_tokens % 2147483647 * :prompt_tokens
                + kept.completion_tokens % 2147483647 * :completion_tokens
                + kept.cached_tokens % 2147483647 * :cached_tokens
                + kept.reasoning_tokens % 2147483647 * :reasoning_tokens) % 2147483647
           * day.weight % 2147483647 * place.weight % 2147483647 * pair_weight(kept.user_id, kept.workflow) % 2147483647
           AS weighed
      FROM spend_days_by_pair AS kept
      LEFT JOIN temp.day_weights AS day ON day.day_ms = kept.day_ms
      LEFT JOIN temp.place_weights AS place
        ON place.deployment = kept.deployment AND place.route = kept.route AND place.key_id = kept.key_id
       AND place.team = kept.team AND place.basis = kept.basis AND place.outcome = kept.outcome
     WHERE kept.day_ms >= :paired_since_ms
     LIMIT -1
)
SELECT SUM(weighed), SUM(weighed IS NULL) FROM paired;

-- name: latency_days
-- The days that there is anything of.
SELECT day_ms FROM latency_days UNION SELECT hour_ms - hour_ms % 86400000 FROM latency_buckets;

-- name: latency_rows
SELECT COUNT(*) FROM latency_buckets;

-- name: latency_by_hour
-- What the hours of one day come to, and of how many rows. Buckets go first: numbers are sorted faster than names.
SELECT deployment, kind, bucket, SUM(count), SUM(sum_us), MAX(max_us), COUNT(*)
  FROM latency_buckets
 WHERE hour_ms >= :day_ms AND hour_ms < :day_ms + 86400000
 GROUP BY bucket, deployment, kind
 ORDER BY bucket, deployment, kind;

-- name: latency_by_day
SELECT deployment, kind, bucket, count, sum_us, max_us
  FROM latency_days
 WHERE day_ms = :day_ms
 ORDER BY bucket, deployment, kind;

-- name: lines_by_window
-- For each window, of the lines in (:after_seq, :through_seq] that it counts: what they come to in money, tokens, calls
-- and attempts, how many holds they close, and the first and last moment and deployment of any.
SELECT link.ceiling_id, link.starts_at_ms, SUM(p.cost_nanousd), SUM(p.tokens),
       SUM(p.kind <> 'correction' AND h.attempt = 1), SUM(p.kind <> 'correction'), SUM(p.kind <> 'correction'),
       MIN(h.taken_at_ms), MAX(h.taken_at_ms), MIN(h.deployment), MAX(h.deployment)
  FROM postings AS p
 CROSS JOIN holds AS h ON h.hold_id = p.hold_id
 CROSS JOIN hold_windows AS link ON link.hold_id = p.hold_id
 WHERE p.seq > :after_seq AND p.seq <= :through_seq
 GROUP BY 1, 2;

-- name: holds_without_line_by_window
SELECT link.ceiling_id, link.starts_at_ms, 0, 0, SUM(h.state = 'released' AND h.attempt = 1),
       SUM(h.state = 'released' AND h.status IS NOT NULL), COUNT(*),
       MIN(h.taken_at_ms), MAX(h.taken_at_ms), MIN(h.deployment), MAX(h.deployment)
  FROM holds AS h
 CROSS JOIN hold_windows AS link ON link.hold_id = h.hold_id
 WHERE h.state IN ('held', 'released')
 GROUP BY 1, 2;

-- name: windows
-- Every window and its ceiling (scope NULL: there is none).
SELECT w.ceiling_id, w.starts_at_ms, w.ends_at_ms, w.counts, w.spent_amount - w.folded_amount, c.scope, c.window, c.active,
       c.since_ms
  FROM ceiling_windows AS w
  LEFT JOIN ceilings AS c ON c.ceiling_id = w.ceiling_id AND c.counts = w.counts;

-- name: holds_by_hour
-- How many holds were taken in an hour at a deployment, in parts: those that ended where all detail is there, by what is
-- kept of them; those that are open; those from before.
SELECT deployment, hour_ms, SUM(attempts) FROM spend_hours WHERE hour_ms >= :since_ms GROUP BY deployment, hour_ms
 UNION ALL
SELECT deployment, taken_at_ms - taken_at_ms % 3600000, COUNT(*)
  FROM holds INDEXED BY open_holds
 WHERE state = 'held' AND outcome IS NULL AND taken_at_ms >= :since_ms
 GROUP BY deployment, taken_at_ms - taken_at_ms % 3600000
 UNION ALL
SELECT deployment, taken_at_ms - taken_at_ms % 3600000, COUNT(*)
  FROM holds
 WHERE taken_at_ms < :since_ms
 GROUP BY deployment, taken_at_ms - taken_at_ms % 3600000;

-- name: counts
-- Of holds, and of their links to windows.
SELECT (SELECT COUNT(*) FROM holds), (SELECT COUNT(*) FROM hold_windows);

-- name: lines
-- How many there are, and the numbers of the first and the last.
SELECT COUNT(*), COALESCE(MIN(seq), 0), COALESCE(MAX(seq), 0) FROM postings;

-- name: line_numbers
-- Of the first and the last line (NULL: there is none), and the one that lines were folded through.
SELECT (SELECT MIN(seq) FROM postings), (SELECT MAX(seq) FROM postings),
       (SELECT COALESCE(MAX(through_seq), 0) FROM closings);
