-- What replicas keep of hot ceilings for calls to come (`ledger.operations.slices`). Older code is not right beside it: it
-- would refuse a call for what another replica keeps, and its audit knows no slices.

CREATE TABLE slices (
    ceiling_id text COLLATE "C" NOT NULL,
    starts_at_ms bigint NOT NULL,
    owner_id text COLLATE "C" NOT NULL,
    free_amount bigint NOT NULL CHECK (free_amount >= 0),
    PRIMARY KEY (ceiling_id, starts_at_ms, owner_id),
    FOREIGN KEY (ceiling_id, starts_at_ms) REFERENCES ceiling_windows (ceiling_id, starts_at_ms)
);
