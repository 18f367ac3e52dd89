-- name: lines_after
-- At most :most lines after this number and through another, their columns in the order of `ledger.chain.LINE_COLUMNS`, then the digest, and
-- of their hold: deployment and amount (NULL: there is no such hold); then the tokens of both.
SELECT p.seq, p.hold_id, p.kind, p.cost_nanousd, p.cost_basis, p.overrun_nanousd, p.input_tokens, p.cached_tokens,
       p.cache_write_tokens, p.output_tokens, p.reasoning_tokens, p.price_version, p.posted_at_ms, p.reason,
       p.cache_write_1h_tokens, p.input_audio_tokens, p.cached_audio_tokens, p.input_image_tokens, p.output_audio_tokens,
       p.output_image_tokens, p.chain, h.deployment, h.held_nanousd, p.tokens,
       h.held_tokens
  FROM postings AS p
  LEFT JOIN holds AS h ON h.hold_id = p.hold_id
 WHERE p.seq > :seq AND p.seq <= :through_seq
 ORDER BY p.seq
 LIMIT :most;

-- name: hashed_lines
-- Of the lines in (:after_seq, :through_seq]: how many they are, the number of the last, the bytes that are hashed of each
-- (`ledger.chain.link`) with a line's end between them, which JSON has none of, and their digests, one after another.
SELECT COUNT(*), MAX(p.seq),
       CAST(group_concat(
           CASE WHEN COALESCE(p.cache_write_1h_tokens, p.input_audio_tokens, p.cached_audio_tokens,
                              p.input_image_tokens, p.output_audio_tokens, p.output_image_tokens) IS NULL
           THEN json_array(p.seq, p.hold_id, p.kind, p.cost_nanousd, p.cost_basis, p.overrun_nanousd, p.input_tokens,
                           p.cached_tokens, p.cache_write_tokens, p.output_tokens, p.reasoning_tokens,
                           p.price_version, p.posted_at_ms, p.reason)
           ELSE json_array(p.seq, p.hold_id, p.kind, p.cost_nanousd, p.cost_basis, p.overrun_nanousd, p.input_tokens,
                           p.cached_tokens, p.cache_write_tokens, p.output_tokens, p.reasoning_tokens,
                           p.price_version, p.posted_at_ms, p.reason, p.cache_write_1h_tokens, p.input_audio_tokens,
                           p.cached_audio_tokens, p.input_image_tokens, p.output_audio_tokens, p.output_image_tokens)
           END, char(10)) AS BLOB),
       CAST(group_concat(p.chain, '') AS BLOB)
  FROM postings AS p
 WHERE p.seq > :after_seq AND p.seq <= :through_seq;

-- name: make_rates
-- What a request and a million tokens of each class cost, where no more than most_prompt tokens were sent.
CREATE TEMP TABLE IF NOT EXISTS rates (
    deployment TEXT NOT NULL,
    price_version TEXT NOT NULL,
    request INTEGER NOT NULL,
    input INTEGER NOT NULL,
    cached INTEGER NOT NULL,
    cache_write INTEGER NOT NULL,
    output INTEGER NOT NULL,
    reasoning INTEGER NOT NULL,
    cache_write_1h INTEGER NOT NULL,
    input_audio INTEGER NOT NULL,
    cached_audio INTEGER NOT NULL,
    input_image INTEGER NOT NULL,
    output_audio INTEGER NOT NULL,
    output_image INTEGER NOT NULL,
    most_prompt INTEGER NOT NULL,
    PRIMARY KEY (deployment, price_version)
) STRICT, WITHOUT ROWID;

-- name: add_rate
INSERT OR REPLACE INTO temp.rates (deployment, price_version, request, input, cached, cache_write, output, reasoning,
                        cache_write_1h, input_audio, cached_audio, input_image, output_audio, output_image, most_prompt)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?);

-- name: right_lines
-- How many of the lines in (:after_seq, :through_seq] have a hold, count the tokens that they used, and cost what they
-- should for certain: at a known rate, and by numbers that cannot overflow. (Where none of some numbers has one of its high
-- bits set, no one is negative, and none is large.) Of what another kind of line costs, nothing is said, nor of the tokens
-- of a correction.
WITH costs AS (
    SELECT p.kind, p.cost_basis, p.cost_nanousd, h.held_nanousd,
           CASE WHEN p.kind = 'correction' THEN 1
                WHEN COALESCE(p.cache_write_1h_tokens, p.input_audio_tokens, p.cached_audio_tokens,
                              p.input_image_tokens, p.output_audio_tokens, p.output_image_tokens) IS NULL
                THEN p.tokens = COALESCE(p.input_tokens + p.cached_tokens + p.cache_write_tokens + p.output_tokens
                                         + p.reasoning_tokens, h.held_tokens)
                ELSE p.tokens = p.input_tokens + p.cached_tokens + p.cache_write_tokens + p.output_tokens
                                + p.reasoning_tokens + p.cache_write_1h_tokens + p.input_audio_tokens
                                + p.cached_audio_tokens + p.input_image_tokens + p.output_audio_tokens
                                + p.output_image_tokens
                END AS counts_tokens,
           (p.input_tokens | p.cached_tokens | p.cache_write_tokens | p.output_tokens | p.reasoning_tokens)
               BETWEEN 0 AND 8388607
               AND CASE WHEN p.cache_write_1h_tokens IS NULL THEN 1
                   ELSE (p.cache_write_1h_tokens | p.input_audio_tokens | p.cached_audio_tokens
                         | p.input_image_tokens | p.output_audio_tokens | p.output_image_tokens)
                        BETWEEN 0 AND 8388607
                   END
               AND p.input_tokens + p.cached_tokens + p.cache_write_tokens
                   + CASE WHEN p.cache_write_1h_tokens IS NULL THEN 0
                     ELSE p.cache_write_1h_tokens + p.input_audio_tokens + p.cached_audio_tokens + p.input_image_tokens
                     END <= r.most_prompt AS is_bounded,
           r.request + (p.input_tokens * r.input + 999999) / 1000000 + (p.cached_tokens * r.cached + 999999) / 1000000
               + (p.cache_write_tokens * r.cache_write + 999999) / 1000000
               + (p.output_tokens * r.output + 999999) / 1000000
               + (p.reasoning_tokens * r.reasoning + 999999) / 1000000
               + CASE WHEN p.cache_write_1h_tokens IS NULL THEN 0
                 ELSE (p.cache_write_1h_tokens * r.cache_write_1h + 999999) / 1000000
                      + (p.input_audio_tokens * r.input_audio + 999999) / 1000000
                      + (p.cached_audio_tokens * r.cached_audio + 999999) / 1000000
                      + (p.input_image_tokens * r.input_image + 999999) / 1000000
                      + (p.output_audio_tokens * r.output_audio + 999999) / 1000000
                      + (p.output_image_tokens * r.output_image + 999999) / 1000000
                 END AS expected_nanousd
      FROM postings AS p
      JOIN holds AS h ON h.hold_id = p.hold_id
      LEFT JOIN temp.rates AS r ON r.deployment = h.deployment AND r.price_version = p.price_version
     WHERE p.seq > :after_seq AND p.seq <= :through_seq)
SELECT COALESCE(SUM(counts_tokens
                    AND CASE WHEN kind <> 'settlement' OR cost_basis NOT IN ('priced_usage', 'estimated') THEN 1
                             WHEN cost_basis = 'estimated'
                             THEN is_bounded AND cost_nanousd = MIN(expected_nanousd, held_nanousd)
                             ELSE is_bounded AND cost_nanousd = expected_nanousd END), 0)
  FROM costs;

-- name: last_folded
-- Up to where lines were folded into a closing balance. No row: none were.
SELECT through_seq, chain FROM closings ORDER BY through_seq DESC LIMIT 1;

-- name: chain_at
-- No row: there is no such line, or it was folded.
SELECT chain FROM postings WHERE seq = :seq;

-- name: last_seq
SELECT COALESCE(MAX(seq), 0) FROM postings;

-- name: pruned_before
-- NULL: nothing was pruned.
SELECT MAX(before_ms) FROM closings;
