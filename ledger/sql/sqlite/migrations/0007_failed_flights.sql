-- How flights failed of late, for calls in other processes that waited for exactly them: what the router makes of it for
-- their callers. Only where other processes are alive, until until_ms, and no more than the newest few thousand.
CREATE TABLE failed_flights (
    failure_id INTEGER NOT NULL PRIMARY KEY,
    generation_id TEXT NOT NULL UNIQUE,
    failure BLOB NOT NULL,
    until_ms INTEGER NOT NULL
) STRICT;
