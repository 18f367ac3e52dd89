-- name: count_latency
INSERT INTO latency_buckets AS kept (deployment, kind, hour_ms, bucket, count, sum_us, max_us)
VALUES (:deployment, :kind, :hour_ms, :bucket, :count, :sum_us, :max_us)
    ON CONFLICT (deployment, hour_ms, kind, bucket) DO UPDATE
   SET count = kept.count + excluded.count, sum_us = kept.sum_us + excluded.sum_us, max_us = GREATEST(kept.max_us, excluded.max_us);
