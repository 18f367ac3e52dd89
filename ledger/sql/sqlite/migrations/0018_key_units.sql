-- The ceilings of keys in tokens and in calls beside those in dollars.
CREATE TABLE key_ceilings_before AS SELECT * FROM api_key_ceilings;
DROP TABLE api_key_ceilings;

CREATE TABLE api_key_ceilings (
    key_id TEXT NOT NULL REFERENCES api_keys (key_id),
    window TEXT NOT NULL CHECK (window IN ('minute', 'hour', 'day', 'month', 'total')),
    counts TEXT NOT NULL CHECK (counts IN ('nanousd', 'tokens', 'calls')),
    limit_amount INTEGER NOT NULL CHECK (limit_amount >= 0),
    PRIMARY KEY (key_id, window, counts)
) STRICT, WITHOUT ROWID;

INSERT INTO api_key_ceilings (key_id, window, counts, limit_amount)
SELECT key_id, window, 'nanousd', limit_nanousd FROM key_ceilings_before;
DROP TABLE key_ceilings_before;
