-- The first ledger. Rules that can stand in the schema stand here: CHECK, UNIQUE, FOREIGN KEY and triggers come first,
-- Python second. Money is nano-dollars, moments are milliseconds UTC.

-- A process that may hold money. While its lease runs its holds are its own; after that anyone may close them. An id is
-- never used again, so it is the epoch of its lease: who comes back late finds its own id gone.
CREATE TABLE owners (
    owner_id TEXT NOT NULL PRIMARY KEY,
    process TEXT NOT NULL,
    started_at_ms INTEGER NOT NULL,
    lease_until_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- What was asked for, once, however it was answered. outcome NULL: still open.
CREATE TABLE generations (
    generation_id TEXT NOT NULL PRIMARY KEY,
    created_at_ms INTEGER NOT NULL,
    route TEXT NOT NULL,
    stream INTEGER NOT NULL CHECK (stream IN (0, 1)),
    trace_id TEXT NOT NULL,
    key_id TEXT NOT NULL,
    team TEXT NOT NULL,
    user_id TEXT NOT NULL,
    workflow TEXT NOT NULL,
    run TEXT NOT NULL,
    tags TEXT NOT NULL,
    cache TEXT NOT NULL CHECK (cache IN ('hit', 'miss', 'coalesced', 'bypass')),
    served_by TEXT,
    deployment TEXT NOT NULL,
    outcome TEXT,
    cost_basis TEXT,
    saved_nanousd INTEGER NOT NULL DEFAULT 0 CHECK (saved_nanousd >= 0),
    estimated_prompt_tokens INTEGER,
    finished_at_ms INTEGER,
    latency_us INTEGER,
    ttft_us INTEGER,
    error_code TEXT,
    CHECK ((outcome IS NULL) = (finished_at_ms IS NULL))
) STRICT, WITHOUT ROWID;

CREATE INDEX generations_by_time ON generations (created_at_ms);

-- since: from when on it is in force without a break; it counts the whole of the window that this falls into.
CREATE TABLE ceilings (
    ceiling_id TEXT NOT NULL PRIMARY KEY,
    scope TEXT NOT NULL,
    window TEXT NOT NULL CHECK (window IN ('minute', 'hour', 'day', 'month', 'total')),
    limit_nanousd INTEGER NOT NULL CHECK (limit_nanousd >= 0),
    active INTEGER NOT NULL CHECK (active IN (0, 1)),
    since_ms INTEGER NOT NULL,
    when_tight TEXT NOT NULL CHECK (when_tight IN ('refuse', 'wait', 'clamp')),
    of_template INTEGER NOT NULL CHECK (of_template IN (0, 1)),
    UNIQUE (scope, window)
) STRICT, WITHOUT ROWID;

-- Another number whenever the ceilings in force were changed, so that each process notices before it admits.
CREATE TABLE ceilings_epoch (
    id INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
    epoch INTEGER NOT NULL
) STRICT;

INSERT INTO ceilings_epoch (id, epoch) VALUES (1, 0);

-- One ceiling in one window: held = the sum of its open holds, spent = the sum of its postings. excused: the highest
-- limit it has had, or what it counted from before it was in force, if that is more: the audit's bound for both together.
CREATE TABLE ceiling_windows (
    ceiling_id TEXT NOT NULL REFERENCES ceilings (ceiling_id),
    starts_at_ms INTEGER NOT NULL,
    ends_at_ms INTEGER,
    limit_nanousd INTEGER NOT NULL CHECK (limit_nanousd >= 0),
    excused_nanousd INTEGER NOT NULL CHECK (excused_nanousd >= limit_nanousd),
    held_nanousd INTEGER NOT NULL CHECK (held_nanousd >= 0),
    spent_nanousd INTEGER NOT NULL CHECK (spent_nanousd >= 0),
    PRIMARY KEY (ceiling_id, starts_at_ms)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER a_new_hold_fits_under_its_ceiling
BEFORE UPDATE OF held_nanousd ON ceiling_windows
WHEN new.held_nanousd > old.held_nanousd AND new.held_nanousd + new.spent_nanousd > new.limit_nanousd
BEGIN
    SELECT RAISE(ABORT, 'a new hold does not fit under its ceiling');
END;

-- Room taken before an attempt, and the attempt's own line: held -> settled, released or lapsed, once.
CREATE TABLE holds (
    hold_id TEXT NOT NULL PRIMARY KEY,
    generation_id TEXT NOT NULL REFERENCES generations (generation_id),
    attempt INTEGER NOT NULL CHECK (attempt >= 1),
    owner_id TEXT NOT NULL,
    deployment TEXT NOT NULL,
    price_version TEXT NOT NULL,
    held_nanousd INTEGER NOT NULL CHECK (held_nanousd >= 0),
    state TEXT NOT NULL CHECK (state IN ('held', 'settled', 'released', 'lapsed')),
    taken_at_ms INTEGER NOT NULL,
    closed_at_ms INTEGER,
    outcome TEXT,
    status INTEGER,
    latency_us INTEGER,
    ttft_us INTEGER,
    error TEXT,
    CHECK ((state = 'held') = (closed_at_ms IS NULL)),
    CHECK ((state = 'held') = (outcome IS NULL))
) STRICT, WITHOUT ROWID;

CREATE INDEX open_holds ON holds (owner_id) WHERE state = 'held';
CREATE INDEX holds_by_time ON holds (taken_at_ms);

CREATE TRIGGER a_hold_is_taken_under_a_lease
BEFORE INSERT ON holds
WHEN NOT EXISTS (SELECT 1 FROM owners WHERE owner_id = new.owner_id AND lease_until_ms >= new.taken_at_ms)
BEGIN
    SELECT RAISE(ABORT, 'a hold is taken under a lease');
END;

CREATE TRIGGER a_hold_is_closed_once
BEFORE UPDATE OF state, held_nanousd, generation_id, deployment, taken_at_ms ON holds
WHEN old.state <> 'held'
BEGIN
    SELECT RAISE(ABORT, 'a hold is closed exactly once');
END;

CREATE TRIGGER a_hold_never_vanishes
BEFORE DELETE ON holds
BEGIN
    SELECT RAISE(ABORT, 'a hold never vanishes');
END;

-- The ceiling windows that a hold took room in: all that applied, or none.
CREATE TABLE hold_windows (
    hold_id TEXT NOT NULL REFERENCES holds (hold_id),
    ceiling_id TEXT NOT NULL,
    starts_at_ms INTEGER NOT NULL,
    PRIMARY KEY (hold_id, ceiling_id, starts_at_ms),
    FOREIGN KEY (ceiling_id, starts_at_ms) REFERENCES ceiling_windows (ceiling_id, starts_at_ms)
) STRICT, WITHOUT ROWID;

-- Immutable lines of money, numbered without a gap. overrun: by how much a settlement passed its hold. Token counts
-- NULL: nobody knows. chain: SHA-256 over the chain of the line before and this line (`ledger.chain`).
CREATE TABLE postings (
    seq INTEGER PRIMARY KEY,
    hold_id TEXT NOT NULL REFERENCES holds (hold_id),
    kind TEXT NOT NULL CHECK (kind IN ('settlement', 'lapse', 'correction')),
    cost_nanousd INTEGER NOT NULL CHECK (kind = 'correction' OR cost_nanousd >= 0),
    cost_basis TEXT NOT NULL
        CHECK (cost_basis IN ('provider_reported', 'priced_usage', 'estimated', 'unknown', 'free')),
    overrun_nanousd INTEGER NOT NULL CHECK (overrun_nanousd >= 0),
    input_tokens INTEGER,
    cached_tokens INTEGER,
    cache_write_tokens INTEGER,
    output_tokens INTEGER,
    reasoning_tokens INTEGER,
    price_version TEXT NOT NULL,
    posted_at_ms INTEGER NOT NULL,
    reason TEXT,
    chain BLOB NOT NULL CHECK (length(chain) = 32)
) STRICT;

CREATE UNIQUE INDEX a_hold_has_one_closing_posting ON postings (hold_id) WHERE kind <> 'correction';
CREATE INDEX corrections_by_hold ON postings (hold_id) WHERE kind = 'correction';

CREATE TRIGGER a_posting_follows_the_last_one
BEFORE INSERT ON postings
WHEN new.seq <> (SELECT COALESCE(MAX(seq), 0) + 1 FROM postings)
BEGIN
    SELECT RAISE(ABORT, 'a posting follows the last one');
END;

CREATE TRIGGER a_posting_never_changes
BEFORE UPDATE ON postings
BEGIN
    SELECT RAISE(ABORT, 'a posting never changes');
END;

CREATE TRIGGER a_posting_never_vanishes
BEFORE DELETE ON postings
BEGIN
    SELECT RAISE(ABORT, 'a posting never vanishes');
END;

-- Complete answers for equal calls. Answers only, never prompts.
CREATE TABLE responses (
    cache_key BLOB NOT NULL PRIMARY KEY CHECK (length(cache_key) = 32),
    generation_id TEXT NOT NULL,
    deployment TEXT NOT NULL,
    cost_nanousd INTEGER NOT NULL CHECK (cost_nanousd >= 0),
    cost_basis TEXT NOT NULL,
    stored_at_ms INTEGER NOT NULL,
    expires_at_ms INTEGER NOT NULL,
    body BLOB NOT NULL
) STRICT;

CREATE INDEX responses_by_expiry ON responses (expires_at_ms);

-- How much is stored, kept by the triggers below so that the bounds cost no count.
CREATE TABLE response_totals (
    id INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
    entries INTEGER NOT NULL CHECK (entries >= 0),
    bytes INTEGER NOT NULL CHECK (bytes >= 0)
) STRICT;

INSERT INTO response_totals (id, entries, bytes) VALUES (1, 0, 0);

CREATE TRIGGER a_stored_response_is_counted
AFTER INSERT ON responses
BEGIN
    UPDATE response_totals SET entries = entries + 1, bytes = bytes + length(new.body);
END;

CREATE TRIGGER a_dropped_response_is_counted
AFTER DELETE ON responses
BEGIN
    UPDATE response_totals SET entries = entries - 1, bytes = bytes - length(old.body);
END;

-- Equal calls in flight: the generation that leads, and whose process it runs in. Void once that owner's lease is over.
CREATE TABLE flights (
    cache_key BLOB NOT NULL PRIMARY KEY CHECK (length(cache_key) = 32),
    generation_id TEXT NOT NULL,
    owner_id TEXT NOT NULL,
    epoch INTEGER NOT NULL CHECK (epoch >= 1)
) STRICT, WITHOUT ROWID;

-- Latency as counts in log-spaced buckets (ratio 1.02), so that quantiles merge over any hours and processes.
-- kind error: attempts that failed, counted in bucket 0.
CREATE TABLE latency_buckets (
    deployment TEXT NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('total', 'ttft', 'error')),
    hour_ms INTEGER NOT NULL,
    bucket INTEGER NOT NULL,
    count INTEGER NOT NULL,
    sum_us INTEGER NOT NULL,
    max_us INTEGER NOT NULL,
    PRIMARY KEY (hour_ms, deployment, kind, bucket)
) STRICT, WITHOUT ROWID;

-- Calls that were not admitted, by hour. They leave no generation behind.
CREATE TABLE refusals (
    hour_ms INTEGER NOT NULL,
    route TEXT NOT NULL,
    code TEXT NOT NULL,
    count INTEGER NOT NULL,
    PRIMARY KEY (hour_ms, route, code)
) STRICT, WITHOUT ROWID;
