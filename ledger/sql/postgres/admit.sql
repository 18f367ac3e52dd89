-- name: count_refusal
INSERT INTO refusals AS kept (hour_ms, route, code, count)
VALUES (:hour_ms, :route, :code, 1)
    ON CONFLICT (hour_ms, route, code) DO UPDATE SET count = kept.count + 1;
