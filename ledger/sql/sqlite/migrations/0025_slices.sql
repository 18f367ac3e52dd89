-- Room that one process keeps under a ceiling for calls to come: taken from the window's room as a hold takes it, so that
-- it counts as held; each call turns what it asks for into a hold of its own. free: what is left of it. On PostgreSQL only:
-- where one file is shared, nothing is gained by it.
CREATE TABLE slices (
    ceiling_id TEXT NOT NULL,
    starts_at_ms INTEGER NOT NULL,
    owner_id TEXT NOT NULL,
    free_amount INTEGER NOT NULL CHECK (free_amount >= 0),
    PRIMARY KEY (ceiling_id, starts_at_ms, owner_id),
    FOREIGN KEY (ceiling_id, starts_at_ms) REFERENCES ceiling_windows (ceiling_id, starts_at_ms)
) STRICT, WITHOUT ROWID;
