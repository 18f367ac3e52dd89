-- What all processes remember together, as the router wrote it (JSON), by subject: `breaker openai:gpt-4o-mini`.
-- version: higher than any before, so that a process asks only for what it has not seen.
CREATE TABLE memory (
    subject TEXT NOT NULL PRIMARY KEY,
    version INTEGER NOT NULL UNIQUE,
    remembered TEXT NOT NULL
) STRICT, WITHOUT ROWID;
