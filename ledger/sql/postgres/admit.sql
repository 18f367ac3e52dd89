-- name: count_refusal
INSERT INTO refusals AS kept (hour_ms, route, code, count)
VALUES (:hour_ms, :route, :code, 1)
    ON CONFLICT (hour_ms, route, code) DO UPDATE SET count = kept.count + 1;

-- name: open_generation
-- Without saying which rule it may break, its id being the only one: to find that rule for its month costs as much again.
INSERT INTO generations (generation_id, created_at_ms, route, stream, trace_id, key_id, team, user_id, workflow, run,
                         tags, cache, deployment)
VALUES (:generation_id, :created_at_ms, :route, :stream, :trace_id, :key, :team, :user, :workflow, :run,
        :tags, :cache, :deployment)
    ON CONFLICT DO NOTHING;

-- name: record_generation
INSERT INTO generations (generation_id, created_at_ms, route, stream, trace_id, key_id, team, user_id, workflow, run,
                         tags, cache, deployment, served_by, outcome, cost_basis, saved_nanousd, finished_at_ms,
                         latency_us, ttft_us, error_code)
VALUES (:generation_id, :created_at_ms, :route, :stream, :trace_id, :key, :team, :user, :workflow, :run,
        :tags, :cache, :deployment, :served_by, :outcome, :cost_basis, :saved_nanousd, :finished_at_ms,
        :latency_us, :ttft_us, :error_code)
    ON CONFLICT DO NOTHING;

-- What the calls of a batch look at. Each statement asks by one key and is run for all of them in one journey: the plan of
-- one that asked for a list of keys would depend on how long the tables were when it was made.

-- name: are_known
SELECT generation_id FROM generations WHERE generation_id = :generation_id;

-- name: keys_in_force
SELECT key_id, COALESCE(expires_at_ms, 9223372036854775807) FROM api_keys WHERE key_id = :key_id AND revoked_at_ms IS NULL;

-- name: stored_answers
SELECT cache_key, expires_at_ms, body, deployment, cost_basis, cost_nanousd, generation_id, checksum
  FROM responses
 WHERE cache_key = :cache_key;

-- name: flights_of
SELECT flights.cache_key, flights.generation_id, flights.owner_id, owners.lease_until_ms
  FROM flights
  JOIN owners USING (owner_id)
 WHERE flights.cache_key = :cache_key;

-- name: windows_now
SELECT ceiling_id, starts_at_ms, limit_amount, held_amount, spent_amount
  FROM ceiling_windows
 WHERE ceiling_id = :ceiling_id AND starts_at_ms = :starts_at_ms;

-- name: lead_flight
INSERT INTO flights AS known (cache_key, generation_id, owner_id, epoch)
VALUES (:cache_key, :generation_id, :owner_id, 1)
    ON CONFLICT (cache_key) DO UPDATE
   SET generation_id = excluded.generation_id, owner_id = excluded.owner_id, epoch = known.epoch + 1
 WHERE known.generation_id = excluded.generation_id
    OR NOT EXISTS (SELECT 1 FROM owners WHERE owners.owner_id = known.owner_id AND owners.lease_until_ms > :now_ms)
RETURNING generation_id;
