-- name: last_line
-- What the next line follows. No row: it is the first.
SELECT seq, chain FROM postings ORDER BY seq DESC LIMIT 1;

-- name: append_line
-- One immutable line without further classes of tokens, as most are: the columns that its digest covers, in the order of
-- `ledger.chain.LINE_COLUMNS`, then its digest and what follows from it.
INSERT INTO postings (seq, hold_id, kind, cost_nanousd, cost_basis, overrun_nanousd, input_tokens, cached_tokens,
                      cache_write_tokens, output_tokens, reasoning_tokens, price_version, posted_at_ms, reason, chain,
                      tokens)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?);

-- name: append_line_of_all_classes
-- As above, with every class.
INSERT INTO postings (seq, hold_id, kind, cost_nanousd, cost_basis, overrun_nanousd, input_tokens, cached_tokens,
                      cache_write_tokens, output_tokens, reasoning_tokens, price_version, posted_at_ms, reason,
                      cache_write_1h_tokens, input_audio_tokens, cached_audio_tokens, input_image_tokens,
                      output_audio_tokens, output_image_tokens, chain, tokens)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?);
