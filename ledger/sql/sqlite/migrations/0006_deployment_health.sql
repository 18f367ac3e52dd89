-- What all processes know of a deployment, as the router wrote it (JSON). version: higher than any before, so that a
-- process asks only for what it has not seen.
CREATE TABLE deployment_health (
    deployment TEXT NOT NULL PRIMARY KEY,
    version INTEGER NOT NULL UNIQUE,
    health TEXT NOT NULL
) STRICT, WITHOUT ROWID;
