-- name: charged_holds
-- At most :most holds that have lines and were taken before :until_ms, after a place in their order, which is by the
-- moment and id of the hold. One whose closing line was folded into a closing balance is left out: what is here of it is
-- not all of it.
SELECT hold_id, deployment, taken_at_ms, held_nanousd, price_version, state
  FROM holds
 WHERE (taken_at_ms, hold_id) > (:after_ms, :after_id)
   AND taken_at_ms < :until_ms
   AND CASE state
       WHEN 'held' THEN false
       WHEN 'released' THEN
           EXISTS (SELECT 1 FROM postings WHERE postings.hold_id = holds.hold_id AND kind = 'correction')
       ELSE EXISTS (SELECT 1 FROM postings WHERE postings.hold_id = holds.hold_id AND kind <> 'correction')
       END
 ORDER BY taken_at_ms, hold_id
 LIMIT :most;

-- name: find_hold
-- No row: there is no such hold.
SELECT hold_id, deployment, taken_at_ms, held_nanousd, price_version, state FROM holds WHERE hold_id = :hold_id;

-- name: lines_of_hold
-- The oldest first, with the classes in the order of `Usage.counts`. Each half has its own index; a view over both of them is read whole where it is joined.
SELECT seq, kind, cost_nanousd, tokens, cost_basis, price_version, input_tokens, cached_tokens, cache_write_tokens,
       output_tokens, reasoning_tokens, COALESCE(cache_write_1h_tokens, 0), COALESCE(input_audio_tokens, 0),
       COALESCE(cached_audio_tokens, 0), COALESCE(input_image_tokens, 0), COALESCE(output_audio_tokens, 0),
       COALESCE(output_image_tokens, 0)
  FROM postings WHERE hold_id = :hold_id AND kind <> 'correction'
 UNION ALL
SELECT seq, kind, cost_nanousd, tokens, cost_basis, price_version, input_tokens, cached_tokens, cache_write_tokens,
       output_tokens, reasoning_tokens, COALESCE(cache_write_1h_tokens, 0), COALESCE(input_audio_tokens, 0),
       COALESCE(cached_audio_tokens, 0), COALESCE(input_image_tokens, 0), COALESCE(output_audio_tokens, 0),
       COALESCE(output_image_tokens, 0)
  FROM postings WHERE hold_id = :hold_id AND kind = 'correction'
 ORDER BY seq;

-- name: holds_of
-- The attempts of a call; their ids begin with its own. No row: there is no such call, or none of it was sent.
SELECT hold_id, deployment, state, outcome
  FROM holds
 WHERE hold_id >= :generation_id || '.' AND hold_id < :generation_id || '/' AND generation_id = :generation_id
 ORDER BY attempt;
