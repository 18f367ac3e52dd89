-- name: windows_of_hold
-- Every window that a hold took room in, what it counts, and from which amount spent on there is something to tell.
SELECT w.ceiling_id, w.starts_at_ms, w.counts, w.spent_amount, w.warn_amount
  FROM hold_windows AS link
  JOIN ceiling_windows AS w ON w.ceiling_id = link.ceiling_id AND w.starts_at_ms = link.starts_at_ms
 WHERE link.hold_id = :hold_id;

-- name: windows_of_holds
-- As `windows_of_hold`, of each hold in `asked`, as in `admit.sql`.
SELECT link.hold_id, w.ceiling_id, w.starts_at_ms, w.counts, w.spent_amount, w.warn_amount
  FROM asked
 CROSS JOIN hold_windows AS link
 CROSS JOIN ceiling_windows AS w
 WHERE link.hold_id = asked.hold_id AND w.ceiling_id = link.ceiling_id AND w.starts_at_ms = link.starts_at_ms;

-- name: move_room
-- In one window that a hold took room in: give its room back and add what it came to, or a correction's difference.
UPDATE ceiling_windows
   SET held_amount = held_amount - :given_back, spent_amount = spent_amount + :came_to
 WHERE ceiling_id = :ceiling_id AND starts_at_ms = :starts_at_ms;
