-- name: find_response
-- The stored answer under this key that has not expired. No row: none. checksum NULL: its body is here.
SELECT body, deployment, cost_basis, cost_nanousd, generation_id, checksum
  FROM responses
 WHERE cache_key = :cache_key AND expires_at_ms > :now_ms;

-- name: find_flight
-- Who leads the flight of this key. No row: nobody, or a process whose lease is over.
SELECT flights.generation_id, flights.owner_id
  FROM flights
  JOIN owners USING (owner_id)
 WHERE flights.cache_key = :cache_key AND owners.lease_until_ms > :now_ms;

-- name: lead_flight
-- Take the lead of a key that nobody alive leads. The epoch of a taken-over flight is one higher. No row: on a server,
-- somebody whose call was admitted beside this batch took it since it was looked for.
INSERT INTO flights (cache_key, generation_id, owner_id, epoch)
VALUES (:cache_key, :generation_id, :owner_id, 1)
    ON CONFLICT (cache_key) DO UPDATE
   SET generation_id = excluded.generation_id, owner_id = excluded.owner_id, epoch = flights.epoch + 1
RETURNING generation_id;

-- name: open_generation
-- A generation that begins. Repeating it changes nothing and counts no row.
INSERT INTO generations (generation_id, created_at_ms, route, stream, trace_id, key_id, team, user_id, workflow, run,
                         tags, cache, deployment)
VALUES (:generation_id, :created_at_ms, :route, :stream, :trace_id, :key, :team, :user, :workflow, :run,
        :tags, :cache, :deployment)
    ON CONFLICT (generation_id) DO NOTHING;

-- name: record_generation
-- A generation that is over as soon as it is on record: a hit, or a follower with its leader's answer.
INSERT INTO generations (generation_id, created_at_ms, route, stream, trace_id, key_id, team, user_id, workflow, run,
                         tags, cache, deployment, served_by, outcome, cost_basis, saved_nanousd, finished_at_ms,
                         latency_us, ttft_us, error_code)
VALUES (:generation_id, :created_at_ms, :route, :stream, :trace_id, :key, :team, :user, :workflow, :run,
        :tags, :cache, :deployment, :served_by, :outcome, :cost_basis, :saved_nanousd, :finished_at_ms,
        :latency_us, :ttft_us, :error_code)
    ON CONFLICT (generation_id) DO NOTHING;

-- name: hold_in_window
-- Take room under one ceiling, in what it counts. A trigger refuses what does not fit.
UPDATE ceiling_windows
   SET held_amount = held_amount + :amount
 WHERE ceiling_id = :ceiling_id AND starts_at_ms = :starts_at_ms;

-- name: take_hold
-- The hold itself, after its room is taken. Repeating it is an error: look for it first.
INSERT INTO holds (hold_id, generation_id, attempt, owner_id, deployment, price_version, held_nanousd, held_tokens, state,
                   taken_at_ms)
VALUES (:hold_id, :generation_id, :attempt, :owner_id, :deployment, :price_version, :held_nanousd, :held_tokens, 'held',
        :taken_at_ms);

-- name: link_hold
-- Which ceiling window the hold took room in, so that closing it gives the room back there.
INSERT INTO hold_windows (hold_id, ceiling_id, starts_at_ms)
VALUES (:hold_id, :ceiling_id, :starts_at_ms);

-- name: find_hold
-- A hold taken before under this id, for a repeated request. No row: it was not taken.
SELECT deployment, held_nanousd, held_tokens FROM holds WHERE hold_id = :hold_id;

-- name: count_refusal
INSERT INTO refusals (hour_ms, route, code, count)
VALUES (:hour_ms, :route, :code, 1)
    ON CONFLICT (hour_ms, route, code) DO UPDATE SET count = count + 1;

-- What the calls of a batch look at, for all of them at once: `asked` has a row for each (`ledger.sqlite.session`). It comes
-- first in each join, by CROSS JOIN, and the others are looked up by their keys.

-- name: are_known
-- Those of these generations that have been here before.
SELECT g.generation_id FROM asked CROSS JOIN generations AS g WHERE g.generation_id = asked.generation_id;

-- name: keys_in_force
-- Until when. No row: the key was revoked, or never was.
SELECT k.key_id, COALESCE(k.expires_at_ms, 9223372036854775807)
  FROM asked
 CROSS JOIN api_keys AS k
 WHERE k.key_id = asked.key_id AND k.revoked_at_ms IS NULL;

-- name: stored_answers
-- Also those that have expired.
SELECT r.cache_key, r.expires_at_ms, r.body, r.deployment, r.cost_basis, r.cost_nanousd, r.generation_id, r.checksum
  FROM asked
 CROSS JOIN responses AS r
 WHERE r.cache_key = asked.cache_key;

-- name: flights_of
-- Who leads the flights of these keys, and until when their owners' leases run.
SELECT f.cache_key, f.generation_id, f.owner_id, o.lease_until_ms
  FROM asked
 CROSS JOIN flights AS f
 CROSS JOIN owners AS o
 WHERE f.cache_key = asked.cache_key AND o.owner_id = f.owner_id;

-- name: windows_now
-- What these ceilings have in their windows. No row: nothing yet.
SELECT w.ceiling_id, w.starts_at_ms, w.limit_amount, w.held_amount, w.spent_amount
  FROM asked
 CROSS JOIN ceiling_windows AS w
 WHERE w.ceiling_id = asked.ceiling_id AND w.starts_at_ms = asked.starts_at_ms;

-- name: who_may_lead
-- Whoever asks: on a file nobody admits beside a batch.
SELECT asked.generation_id FROM asked;
