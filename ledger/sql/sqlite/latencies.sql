-- name: count_latency
INSERT INTO latency_buckets (deployment, kind, hour_ms, bucket, count, sum_us, max_us)
VALUES (:deployment, :kind, :hour_ms, :bucket, :count, :sum_us, :max_us)
    ON CONFLICT (deployment, hour_ms, kind, bucket) DO UPDATE
   SET count = count + excluded.count, sum_us = sum_us + excluded.sum_us, max_us = MAX(max_us, excluded.max_us);
