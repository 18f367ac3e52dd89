-- name: set_ceiling
-- A ceiling as the configuration has it now. Its windows and their counts stay.
INSERT INTO ceilings (ceiling_id, scope, "window", counts, limit_amount, active, since_ms, when_tight, of_template,
                      downgrade_at, warn_at)
VALUES (:ceiling_id, :scope, :window, :counts, :limit_amount, 1, :now_ms, :when_tight, :of_template, :downgrade_at,
        :warn_at)
    ON CONFLICT (ceiling_id) DO UPDATE
   SET limit_amount = excluded.limit_amount, active = 1, when_tight = excluded.when_tight,
       of_template = excluded.of_template, downgrade_at = excluded.downgrade_at, warn_at = excluded.warn_at,
       since_ms = CASE WHEN :is_new THEN excluded.since_ms ELSE ceilings.since_ms END;

-- name: retire_ceilings
-- Before the configured ones are set again: whatever is not set after this is no longer in force.
UPDATE ceilings SET active = 0 WHERE active = 1;

-- name: next_epoch
-- Every process that admits takes the ceilings from here anew. A number that never was, for one that was rolled back
-- may have been seen.
UPDATE ceilings_epoch SET epoch = random();

-- name: epoch
SELECT epoch FROM ceilings_epoch;

-- name: configured_ceilings
-- Those in force as they were configured: templates, and not the names that they stand for.
SELECT scope, "window", counts, limit_amount, when_tight, downgrade_at, warn_at
  FROM ceilings
 WHERE active = 1 AND of_template = 0;

-- name: scopes_like
-- The names that a template of this window and unit stands for, as far as they were seen.
SELECT scope FROM ceilings
 WHERE "window" = :window AND counts = :counts AND substr(scope, 1, length(:prefix)) = :prefix AND scope <> :template;

-- name: first_hold_from
-- No row: none was taken at this moment or later.
SELECT taken_at_ms FROM holds WHERE taken_at_ms >= :from_ms ORDER BY taken_at_ms LIMIT 1;

-- name: set_window_limit
-- The limit of windows that are not over yet.
UPDATE ceiling_windows
   SET limit_amount = :limit_amount, excused_amount = MAX(excused_amount, :limit_amount)
 WHERE ceiling_id = :ceiling_id AND (ends_at_ms IS NULL OR ends_at_ms > :now_ms);

-- name: active_ceilings
SELECT ceiling_id FROM ceilings WHERE active = 1;

-- name: shown_ceilings
-- Those in force, less those of keys that were revoked or have expired.
SELECT ceiling_id, scope, "window", counts, limit_amount, warn_at
  FROM ceilings
 WHERE active = 1
   AND NOT EXISTS (SELECT 1 FROM api_keys
                    WHERE scope LIKE 'key:%' AND key_id = substr(scope, 5)
                      AND (revoked_at_ms IS NOT NULL OR expires_at_ms <= :now_ms))
 ORDER BY scope, "window", counts DESC;

-- name: current_window
SELECT limit_amount, spent_amount, held_amount
  FROM ceiling_windows
 WHERE ceiling_id = :ceiling_id AND starts_at_ms = :starts_at_ms;

-- name: unlinked_holds_in_span
-- Every hold taken in a span that the ceiling's window does not count yet, with what it holds (nothing, once closed) and
-- what it has come to, in what the ceiling counts.
SELECT holds.hold_id, holds.deployment,
       generations.key_id, generations.team, generations.user_id, generations.workflow, generations.run,
       CASE WHEN holds.state <> 'held' THEN 0
            ELSE CASE :counts WHEN 'nanousd' THEN holds.held_nanousd WHEN 'tokens' THEN holds.held_tokens
                              WHEN 'attempts' THEN 1 ELSE holds.attempt = 1 END END,
       CASE :counts
       WHEN 'nanousd' THEN
           COALESCE((SELECT SUM(cost_nanousd) FROM postings
                      WHERE postings.hold_id = holds.hold_id AND kind <> 'correction'), 0)
           + COALESCE((SELECT SUM(cost_nanousd) FROM postings
                        WHERE postings.hold_id = holds.hold_id AND kind = 'correction'), 0)
       WHEN 'tokens' THEN
           COALESCE((SELECT SUM(tokens) FROM postings
                      WHERE postings.hold_id = holds.hold_id AND kind <> 'correction'), 0)
           + COALESCE((SELECT SUM(tokens) FROM postings
                        WHERE postings.hold_id = holds.hold_id AND kind = 'correction'), 0)
       WHEN 'attempts' THEN holds.state IN ('settled', 'lapsed') OR (holds.state = 'released' AND holds.status IS NOT NULL)
       ELSE holds.state <> 'held' AND holds.attempt = 1
       END
  FROM holds
  JOIN generations USING (generation_id)
 WHERE holds.taken_at_ms >= :starts_at_ms
   AND (:ends_at_ms IS NULL OR holds.taken_at_ms < :ends_at_ms)
   AND NOT EXISTS (SELECT 1 FROM hold_windows
                    WHERE hold_windows.hold_id = holds.hold_id
                      AND hold_windows.ceiling_id = :ceiling_id
                      AND hold_windows.starts_at_ms = :starts_at_ms);

-- name: is_linked
-- No row: the ceiling's window does not count this hold.
SELECT 1 FROM hold_windows
 WHERE hold_id = :hold_id AND ceiling_id = :ceiling_id AND starts_at_ms = :starts_at_ms;

-- name: add_to_window
-- What a window has seen while its ceiling was not in force; folded: the part of it that has no lines any more. The limit
-- is lifted for this one statement, because what was admitted then owed it nothing; `set_window_limit` puts it back in the
-- same transaction.
INSERT INTO ceiling_windows (ceiling_id, starts_at_ms, ends_at_ms, counts, limit_amount, excused_amount, held_amount,
                             spent_amount, folded_amount)
VALUES (:ceiling_id, :starts_at_ms, :ends_at_ms, :counts, :limit_amount,
        MAX(:limit_amount, :held_amount + :spent_amount), :held_amount, :spent_amount, :folded_amount)
    ON CONFLICT (ceiling_id, starts_at_ms) DO UPDATE
   SET limit_amount = MAX(limit_amount,
                          held_amount + spent_amount + excluded.held_amount + excluded.spent_amount),
       excused_amount = MAX(excused_amount,
                            held_amount + spent_amount + excluded.held_amount + excluded.spent_amount),
       held_amount = held_amount + excluded.held_amount,
       spent_amount = spent_amount + excluded.spent_amount,
       folded_amount = folded_amount + excluded.folded_amount;

-- name: link_missed
INSERT INTO hold_windows (hold_id, ceiling_id, starts_at_ms)
VALUES (:hold_id, :ceiling_id, :starts_at_ms);
