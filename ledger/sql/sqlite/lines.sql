-- name: lines_after
-- At most :most lines after this number, their columns in the order of `ledger.chain.LINE_COLUMNS`, then the digest, and
-- of their hold: deployment and amount (NULL: there is no such hold).
SELECT p.seq, p.hold_id, p.kind, p.cost_nanousd, p.cost_basis, p.overrun_nanousd, p.input_tokens, p.cached_tokens,
       p.cache_write_tokens, p.output_tokens, p.reasoning_tokens, p.price_version, p.posted_at_ms, p.reason,
       p.chain, h.deployment, h.held_nanousd
  FROM postings AS p
  LEFT JOIN holds AS h ON h.hold_id = p.hold_id
 WHERE p.seq > :seq
 ORDER BY p.seq
 LIMIT :most;

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
