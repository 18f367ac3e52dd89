-- name: next_epoch
-- A number that never was.
UPDATE ceilings_epoch SET epoch = CAST((random() - 0.5) * 9.2e18 AS bigint);

-- name: set_window_limit
UPDATE ceiling_windows
   SET limit_amount = :limit_amount, excused_amount = GREATEST(excused_amount, :limit_amount)
 WHERE ceiling_id = :ceiling_id AND (ends_at_ms IS NULL OR ends_at_ms > :now_ms);

-- name: unlinked_holds_in_span
SELECT holds.hold_id, holds.deployment,
       generations.key_id, generations.team, generations.user_id, generations.workflow, generations.run,
       CASE WHEN holds.state <> 'held' THEN 0
            ELSE CASE :counts WHEN 'nanousd' THEN holds.held_nanousd WHEN 'tokens' THEN holds.held_tokens
                              WHEN 'attempts' THEN 1 ELSE CAST(holds.attempt = 1 AS integer) END END,
       CASE :counts
       WHEN 'nanousd' THEN COALESCE((SELECT SUM(cost_nanousd) FROM postings WHERE postings.hold_id = holds.hold_id), 0)
       WHEN 'tokens' THEN COALESCE((SELECT SUM(tokens) FROM postings WHERE postings.hold_id = holds.hold_id), 0)
       WHEN 'attempts' THEN CAST(holds.state IN ('settled', 'lapsed')
                                 OR (holds.state = 'released' AND holds.status IS NOT NULL) AS integer)
       ELSE CAST(holds.state <> 'held' AND holds.attempt = 1 AS integer)
       END
  FROM holds
  JOIN generations USING (generation_id)
 WHERE holds.taken_at_ms >= :starts_at_ms
   AND (CAST(:ends_at_ms AS bigint) IS NULL OR holds.taken_at_ms < :ends_at_ms)
   AND NOT EXISTS (SELECT 1 FROM hold_windows
                    WHERE hold_windows.hold_id = holds.hold_id
                      AND hold_windows.ceiling_id = :ceiling_id
                      AND hold_windows.starts_at_ms = :starts_at_ms);

-- name: add_to_window
INSERT INTO ceiling_windows AS kept (ceiling_id, starts_at_ms, ends_at_ms, counts, limit_amount, excused_amount,
                                     held_amount, spent_amount, folded_amount)
VALUES (:ceiling_id, :starts_at_ms, :ends_at_ms, :counts, :limit_amount,
        GREATEST(:limit_amount, CAST(:held_amount AS bigint) + CAST(:spent_amount AS bigint)), :held_amount,
        :spent_amount, :folded_amount)
    ON CONFLICT (ceiling_id, starts_at_ms) DO UPDATE
   SET limit_amount = GREATEST(kept.limit_amount,
                               kept.held_amount + kept.spent_amount + excluded.held_amount + excluded.spent_amount),
       excused_amount = GREATEST(kept.excused_amount,
                                 kept.held_amount + kept.spent_amount + excluded.held_amount + excluded.spent_amount),
       held_amount = kept.held_amount + excluded.held_amount,
       spent_amount = kept.spent_amount + excluded.spent_amount,
       folded_amount = kept.folded_amount + excluded.folded_amount;
