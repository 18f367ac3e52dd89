-- Sums that the service's own audit follows line by line, as they have to be after line `seq`: of a ceiling's window, or,
-- where ceiling_id is empty, of an hour in `spend_hours`. ceilings_epoch: the ceilings that were in force. They are met
-- anew: a process that does not follow sums may have looked since.
DROP TABLE followed_sums;

CREATE TABLE followed_sums (
    ceiling_id TEXT NOT NULL,
    starts_at_ms INTEGER NOT NULL,
    cost_nanousd INTEGER NOT NULL,
    ceilings_epoch INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    PRIMARY KEY (ceiling_id, starts_at_ms)
) STRICT, WITHOUT ROWID;
