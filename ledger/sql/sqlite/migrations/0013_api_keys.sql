-- Who may call, and as what. digest: HMAC-SHA-256 of the secret under a pepper that is kept elsewhere; pepper_id: which
-- one. team '': none. expires NULL: never.
CREATE TABLE api_keys (
    key_id TEXT NOT NULL PRIMARY KEY CHECK (length(key_id) > 0),
    digest BLOB NOT NULL UNIQUE CHECK (length(digest) = 32),
    pepper_id TEXT NOT NULL,
    name TEXT NOT NULL CHECK (length(name) > 0),
    team TEXT NOT NULL,
    role TEXT NOT NULL CHECK (role IN ('caller', 'reader', 'admin')),
    created_at_ms INTEGER NOT NULL,
    expires_at_ms INTEGER CHECK (expires_at_ms > created_at_ms),
    revoked_at_ms INTEGER
) STRICT, WITHOUT ROWID;

CREATE TRIGGER a_key_is_only_ever_revoked
BEFORE UPDATE ON api_keys
WHEN old.revoked_at_ms IS NOT NULL OR new.revoked_at_ms IS NULL
     OR (new.key_id, new.digest, new.pepper_id, new.name, new.team, new.role, new.created_at_ms)
        <> (old.key_id, old.digest, old.pepper_id, old.name, old.team, old.role, old.created_at_ms)
     OR new.expires_at_ms IS NOT old.expires_at_ms
BEGIN
    SELECT RAISE(ABORT, 'a key changes in nothing but that it is revoked, once');
END;

CREATE TRIGGER a_key_never_vanishes
BEFORE DELETE ON api_keys
BEGIN
    SELECT RAISE(ABORT, 'a key never vanishes: what was spent with it names it');
END;

-- The names of models that a key may ask for. No row: all of them.
CREATE TABLE api_key_routes (
    key_id TEXT NOT NULL REFERENCES api_keys (key_id),
    route TEXT NOT NULL,
    PRIMARY KEY (key_id, route)
) STRICT, WITHOUT ROWID;

-- The ceilings that a key was made with, of the scope `key:ID`. They are in force beside the configured ones, as long as
-- the key is.
CREATE TABLE api_key_ceilings (
    key_id TEXT NOT NULL REFERENCES api_keys (key_id),
    window TEXT NOT NULL CHECK (window IN ('minute', 'hour', 'day', 'month', 'total')),
    limit_nanousd INTEGER NOT NULL CHECK (limit_nanousd >= 0),
    PRIMARY KEY (key_id, window)
) STRICT, WITHOUT ROWID;
