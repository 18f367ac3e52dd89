-- name: find_health
-- No row: nothing is known.
SELECT health FROM deployment_health WHERE deployment = :deployment;

-- name: keep_health
INSERT INTO deployment_health (deployment, version, health)
VALUES (:deployment, (SELECT COALESCE(MAX(version), 0) + 1 FROM deployment_health), :health)
    ON CONFLICT (deployment) DO UPDATE SET version = excluded.version, health = excluded.health;

-- name: health_since
SELECT deployment, version, health FROM deployment_health WHERE version > :version ORDER BY version;
