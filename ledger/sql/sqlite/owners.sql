-- name: register_owner
INSERT INTO owners (owner_id, process, started_at_ms, lease_until_ms)
VALUES (:owner_id, :process, :now_ms, :lease_until_ms);

-- name: renew_lease
-- No row: the lease ran out before, and its holds are anyone's to close.
UPDATE owners SET lease_until_ms = :lease_until_ms
 WHERE owner_id = :owner_id AND lease_until_ms >= :now_ms
RETURNING owner_id;

-- name: end_lease
-- A process that leaves in good order has no holds left to lapse.
DELETE FROM owners
 WHERE owner_id = :owner_id
   AND NOT EXISTS (SELECT 1 FROM holds WHERE holds.owner_id = :owner_id AND holds.state = 'held');

-- name: give_up_lease
-- Over for good: setting the clock back does not bring it to life again.
UPDATE owners SET lease_until_ms = 0 WHERE owner_id = :owner_id;

-- name: dead_owners
SELECT owner_id FROM owners WHERE lease_until_ms < :now_ms;

-- name: holds_of_owner
-- At most :most open holds of an owner, oldest first.
SELECT hold_id, generation_id, price_version
  FROM holds
 WHERE owner_id = :owner_id AND state = 'held'
 ORDER BY taken_at_ms
 LIMIT :most;

-- name: end_flights_of_owner
DELETE FROM flights WHERE owner_id = :owner_id;

-- name: lose_generation
-- Its process died before it could say how the generation ended.
UPDATE generations
   SET outcome = 'lost', cost_basis = 'unknown', finished_at_ms = :now_ms, error_code = 'lost'
 WHERE generation_id = :generation_id AND outcome IS NULL;
