-- name: find_memory
-- No row: nothing is remembered.
SELECT remembered FROM memory WHERE subject = :subject;

-- name: keep_memory
INSERT INTO memory (subject, version, remembered)
VALUES (:subject, (SELECT COALESCE(MAX(version), 0) + 1 FROM memory), :remembered)
    ON CONFLICT (subject) DO UPDATE SET version = excluded.version, remembered = excluded.remembered;

-- name: memory_since
SELECT subject, version, remembered FROM memory WHERE version > :version ORDER BY version;
