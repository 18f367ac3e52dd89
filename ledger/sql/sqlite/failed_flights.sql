-- name: share_failure
-- For whoever waits in another process. No row: no other is alive, or it was done before.
INSERT INTO failed_flights (generation_id, failure, until_ms)
SELECT :generation_id, :failure, :until_ms
 WHERE (SELECT COUNT(*) FROM owners WHERE lease_until_ms >= :now_ms) > 1
    ON CONFLICT (generation_id) DO NOTHING
RETURNING failure_id;

-- name: forget_failures_before
DELETE FROM failed_flights WHERE failure_id <= :failure_id;

-- name: forget_failures
DELETE FROM failed_flights WHERE until_ms <= :now_ms;

-- name: find_failure
-- No row: the flight that this generation led did not fail, or long ago, or for a reason of its leader's own.
SELECT failure FROM failed_flights WHERE generation_id = :generation_id AND until_ms > :now_ms;
