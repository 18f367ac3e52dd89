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
