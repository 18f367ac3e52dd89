-- Ceilings in tokens and in calls beside those in dollars. The tables of ceilings are made anew, for a rule within them
-- changes: what refers to them goes first, and comes back last.
CREATE TABLE ceilings_before AS SELECT * FROM ceilings;
CREATE TABLE windows_before AS SELECT * FROM ceiling_windows;
CREATE TABLE links_before AS SELECT * FROM hold_windows;
DROP TABLE hold_windows;
DROP TABLE ceiling_windows;
DROP TABLE ceilings;

CREATE TABLE ceilings (
    ceiling_id TEXT NOT NULL PRIMARY KEY,
    scope TEXT NOT NULL,
    window TEXT NOT NULL CHECK (window IN ('minute', 'hour', 'day', 'month', 'total')),
    counts TEXT NOT NULL CHECK (counts IN ('nanousd', 'tokens', 'calls', 'attempts')),
    limit_amount INTEGER NOT NULL CHECK (limit_amount >= 0),
    active INTEGER NOT NULL CHECK (active IN (0, 1)),
    since_ms INTEGER NOT NULL,
    when_tight TEXT NOT NULL CHECK (when_tight IN ('refuse', 'wait', 'clamp')),
    of_template INTEGER NOT NULL CHECK (of_template IN (0, 1)),
    downgrade_at REAL CHECK (downgrade_at > 0 AND downgrade_at <= 1),
    UNIQUE (scope, window, counts),
    UNIQUE (ceiling_id, counts)
) STRICT, WITHOUT ROWID;

INSERT INTO ceilings (ceiling_id, scope, window, counts, limit_amount, active, since_ms, when_tight, of_template,
                      downgrade_at)
SELECT ceiling_id, scope, window, 'nanousd', limit_nanousd, active, since_ms, when_tight, of_template, downgrade_at
  FROM ceilings_before;

CREATE TABLE ceiling_windows (
    ceiling_id TEXT NOT NULL,
    starts_at_ms INTEGER NOT NULL,
    ends_at_ms INTEGER,
    counts TEXT NOT NULL,
    limit_amount INTEGER NOT NULL CHECK (limit_amount >= 0),
    excused_amount INTEGER NOT NULL CHECK (excused_amount >= limit_amount),
    held_amount INTEGER NOT NULL CHECK (held_amount >= 0),
    spent_amount INTEGER NOT NULL CHECK (spent_amount >= 0),
    folded_amount INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (ceiling_id, starts_at_ms),
    FOREIGN KEY (ceiling_id, counts) REFERENCES ceilings (ceiling_id, counts)
) STRICT, WITHOUT ROWID;

INSERT INTO ceiling_windows (ceiling_id, starts_at_ms, ends_at_ms, counts, limit_amount, excused_amount, held_amount,
                             spent_amount, folded_amount)
SELECT ceiling_id, starts_at_ms, ends_at_ms, 'nanousd', limit_nanousd, excused_nanousd, held_nanousd, spent_nanousd,
       folded_nanousd
  FROM windows_before;

CREATE TRIGGER a_new_hold_fits_under_its_ceiling
BEFORE UPDATE OF held_amount ON ceiling_windows
WHEN new.held_amount > old.held_amount AND new.held_amount + new.spent_amount > new.limit_amount
BEGIN
    SELECT RAISE(ABORT, 'a new hold does not fit under its ceiling');
END;

CREATE TABLE hold_windows (
    hold_id TEXT NOT NULL REFERENCES holds (hold_id),
    ceiling_id TEXT NOT NULL,
    starts_at_ms INTEGER NOT NULL,
    PRIMARY KEY (hold_id, ceiling_id, starts_at_ms),
    FOREIGN KEY (ceiling_id, starts_at_ms) REFERENCES ceiling_windows (ceiling_id, starts_at_ms)
) STRICT, WITHOUT ROWID;

INSERT INTO hold_windows (hold_id, ceiling_id, starts_at_ms) SELECT hold_id, ceiling_id, starts_at_ms FROM links_before;

DROP TABLE links_before;
DROP TABLE windows_before;
DROP TABLE ceilings_before;

-- What was held before held no tokens: nothing counted them.
ALTER TABLE holds ADD COLUMN held_tokens INTEGER NOT NULL DEFAULT 0 CHECK (held_tokens >= 0);
DROP TRIGGER a_hold_is_closed_once;

CREATE TRIGGER a_hold_is_closed_once
BEFORE UPDATE OF state, held_nanousd, held_tokens, attempt, status, generation_id, deployment, taken_at_ms ON holds
WHEN old.state <> 'held'
BEGIN
    SELECT RAISE(ABORT, 'a hold is closed exactly once');
END;

ALTER TABLE postings ADD COLUMN tokens INTEGER NOT NULL DEFAULT 0 CHECK (kind = 'correction' OR tokens >= 0);
DROP TRIGGER a_posting_never_changes;

UPDATE postings
   SET tokens = (SELECT prompt_tokens + completion_tokens FROM counted_lines WHERE counted_lines.seq = postings.seq)
 WHERE input_tokens IS NOT NULL;

CREATE TRIGGER a_posting_never_changes
BEFORE UPDATE ON postings
BEGIN
    SELECT RAISE(ABORT, 'a posting never changes');
END;

-- The next look begins them anew.
DROP TABLE followed_sums;

CREATE TABLE followed_sums (
    ceiling_id TEXT NOT NULL,
    starts_at_ms INTEGER NOT NULL,
    amount INTEGER NOT NULL,
    ceilings_epoch INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    PRIMARY KEY (ceiling_id, starts_at_ms)
) STRICT, WITHOUT ROWID;
