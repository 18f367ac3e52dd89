-- The whole schema, as all migrations together make it: what to read to know the tables, and what a new file is given.
-- A test proves that they agree.

-- Rules that can stand in the schema stand here: CHECK, UNIQUE, FOREIGN KEY and triggers come first,
-- Python second. Money is nano-dollars, moments are milliseconds UTC. In the tables that every call writes to a column's
-- words are spelt out with OR: for an IN of three or more SQLite builds a table at every row.

-- A process that may hold money. While its lease runs its holds are its own; after that anyone may close them. An id is
-- never used again, so it is the epoch of its lease: who comes back late finds its own id gone. queue_depth: how many
-- writes waited in it when it last said so.
CREATE TABLE owners (
    owner_id TEXT NOT NULL PRIMARY KEY,
    process TEXT NOT NULL,
    started_at_ms INTEGER NOT NULL,
    lease_until_ms INTEGER NOT NULL,
    queue_depth INTEGER NOT NULL DEFAULT 0
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
    cache TEXT NOT NULL CHECK (cache = 'hit' OR cache = 'miss' OR cache = 'coalesced' OR cache = 'bypass'),
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

-- since: from when on it is in force without a break; it counts the whole of the window that this falls into. counts: what
-- it adds up, and what its amounts are in: nano-dollars, tokens, calls however many attempts they took, or attempts.
-- warn_at: the shares of the limit that people are told of once they are spent, a JSON list.
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
    warn_at TEXT NOT NULL DEFAULT '[]',
    UNIQUE (scope, window, counts),
    UNIQUE (ceiling_id, counts)
) STRICT, WITHOUT ROWID;

-- Another number whenever the ceilings in force were changed, so that each process notices before it admits.
CREATE TABLE ceilings_epoch (
    id INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
    epoch INTEGER NOT NULL
) STRICT;

INSERT INTO ceilings_epoch (id, epoch) VALUES (1, 0);

-- One ceiling in one window: held = the sum of its open holds, spent = the sum of its postings, or of the calls or
-- attempts that are over; all in what it counts. excused: the highest limit it has had, or what it counted from before it
-- was in force, if that is more: the audit's bound for both together. folded: the part of `spent` whose lines were folded
-- into a closing. warn_amount: from which amount spent on there is something to tell; NULL: no more.
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
    warn_amount INTEGER CHECK (warn_amount > 0),
    PRIMARY KEY (ceiling_id, starts_at_ms),
    FOREIGN KEY (ceiling_id, counts) REFERENCES ceilings (ceiling_id, counts)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER a_new_hold_fits_under_its_ceiling
BEFORE UPDATE OF held_amount ON ceiling_windows
WHEN new.held_amount > old.held_amount AND new.held_amount + new.spent_amount > new.limit_amount
BEGIN
    SELECT RAISE(ABORT, 'a new hold does not fit under its ceiling');
END;

-- Room taken before an attempt, and the attempt's own line: held -> settled, released or lapsed, once. One that was
-- released without a status was never sent. queued_us: from when it was taken until the request was begun, for a
-- place at its provider mostly; NULL: nobody knows. hedge: 1 for an attempt that was started beside another.
CREATE TABLE holds (
    hold_id TEXT NOT NULL PRIMARY KEY,
    generation_id TEXT NOT NULL REFERENCES generations (generation_id),
    attempt INTEGER NOT NULL CHECK (attempt >= 1),
    owner_id TEXT NOT NULL,
    deployment TEXT NOT NULL,
    price_version TEXT NOT NULL,
    held_nanousd INTEGER NOT NULL CHECK (held_nanousd >= 0),
    state TEXT NOT NULL CHECK (state = 'held' OR state = 'settled' OR state = 'released' OR state = 'lapsed'),
    taken_at_ms INTEGER NOT NULL,
    closed_at_ms INTEGER,
    outcome TEXT,
    status INTEGER,
    latency_us INTEGER,
    ttft_us INTEGER,
    error TEXT,
    held_tokens INTEGER NOT NULL DEFAULT 0 CHECK (held_tokens >= 0),
    queued_us INTEGER,
    hedge INTEGER NOT NULL DEFAULT 0 CHECK (hedge IN (0, 1)),
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
BEFORE UPDATE OF state, held_nanousd, held_tokens, attempt, status, generation_id, deployment, taken_at_ms ON holds
WHEN old.state <> 'held'
BEGIN
    SELECT RAISE(ABORT, 'a hold is closed exactly once');
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
-- NULL: nobody knows; but of the six from cache_write_1h_tokens on, a line has all, or, where each would be 0, none.
-- chain: SHA-256 over the chain of the line before and this line (`ledger.chain`). tokens: what it
-- adds to ceilings in tokens; it follows from the counts, or is the whole hold where nobody knows them.
CREATE TABLE postings (
    seq INTEGER PRIMARY KEY,
    hold_id TEXT NOT NULL REFERENCES holds (hold_id),
    kind TEXT NOT NULL CHECK (kind = 'settlement' OR kind = 'lapse' OR kind = 'correction'),
    cost_nanousd INTEGER NOT NULL CHECK (kind = 'correction' OR cost_nanousd >= 0),
    cost_basis TEXT NOT NULL
        CHECK (cost_basis = 'priced_usage' OR cost_basis = 'provider_reported' OR cost_basis = 'estimated'
               OR cost_basis = 'unknown' OR cost_basis = 'free'),
    overrun_nanousd INTEGER NOT NULL CHECK (overrun_nanousd >= 0),
    input_tokens INTEGER,
    cached_tokens INTEGER,
    cache_write_tokens INTEGER,
    output_tokens INTEGER,
    reasoning_tokens INTEGER,
    price_version TEXT NOT NULL,
    posted_at_ms INTEGER NOT NULL,
    reason TEXT,
    chain BLOB NOT NULL CHECK (length(chain) = 32),
    cache_write_1h_tokens INTEGER,
    input_audio_tokens INTEGER,
    cached_audio_tokens INTEGER,
    input_image_tokens INTEGER,
    output_audio_tokens INTEGER,
    output_image_tokens INTEGER,
    tokens INTEGER NOT NULL DEFAULT 0 CHECK (kind = 'correction' OR tokens >= 0)
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

-- Complete answers for equal calls. Answers only, never prompts. A body may be kept on a cache server: checksum is SHA-256
-- of its cache key and that body, by which it is found there and proved; NULL: it is here. elsewhere_bytes: how long it is
-- there; here it is empty then.
CREATE TABLE responses (
    cache_key BLOB NOT NULL PRIMARY KEY CHECK (length(cache_key) = 32),
    generation_id TEXT NOT NULL,
    deployment TEXT NOT NULL,
    cost_nanousd INTEGER NOT NULL CHECK (cost_nanousd >= 0),
    cost_basis TEXT NOT NULL,
    stored_at_ms INTEGER NOT NULL,
    expires_at_ms INTEGER NOT NULL,
    body BLOB NOT NULL,
    checksum BLOB CHECK (length(checksum) = 32),
    elsewhere_bytes INTEGER NOT NULL DEFAULT 0 CHECK (elsewhere_bytes >= 0)
) STRICT;

CREATE INDEX responses_by_expiry ON responses (expires_at_ms);

-- How much is stored, here and elsewhere, kept by the triggers below so that the bounds cost no count.
CREATE TABLE response_totals (
    id INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
    entries INTEGER NOT NULL CHECK (entries >= 0),
    bytes INTEGER NOT NULL CHECK (bytes >= 0)
) STRICT;

INSERT INTO response_totals (id, entries, bytes) VALUES (1, 0, 0);

CREATE TRIGGER a_stored_response_is_counted
AFTER INSERT ON responses
BEGIN
    UPDATE response_totals SET entries = entries + 1, bytes = bytes + length(new.body) + new.elsewhere_bytes;
END;

CREATE TRIGGER a_dropped_response_is_counted
AFTER DELETE ON responses
BEGIN
    UPDATE response_totals SET entries = entries - 1, bytes = bytes - length(old.body) - old.elsewhere_bytes;
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
    kind TEXT NOT NULL CHECK (kind = 'total' OR kind = 'ttft' OR kind = 'error'),
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

-- The prices that holds and postings name: JSON of `ledger.prices.Price`. A version never changes its meaning.
CREATE TABLE prices (
    deployment TEXT NOT NULL,
    price_version TEXT NOT NULL,
    price TEXT NOT NULL,
    PRIMARY KEY (deployment, price_version)
) STRICT, WITHOUT ROWID;

-- What a caller was answered under an Idempotency-Key: in progress, then done with its result until expires_at_ms.
-- fingerprint: of the request that the key stands for. hit: the stored answer that it was given, as the ledger writes it;
-- result: anything else, as the router writes it; neither, once done: it was too large to keep. Answers, never prompts.
CREATE TABLE idempotency (
    caller TEXT NOT NULL,
    idempotency_key TEXT NOT NULL CHECK (length(idempotency_key) BETWEEN 1 AND 255),
    fingerprint BLOB NOT NULL CHECK (length(fingerprint) = 32),
    state TEXT NOT NULL CHECK (state IN ('in_progress', 'done')),
    generation_id TEXT NOT NULL,
    owner_id TEXT NOT NULL,
    trace_id TEXT NOT NULL,
    created_at_ms INTEGER NOT NULL,
    taken_at_ms INTEGER NOT NULL,
    expires_at_ms INTEGER NOT NULL CHECK (expires_at_ms > taken_at_ms),
    hit BLOB,
    result BLOB,
    PRIMARY KEY (caller, idempotency_key),
    CHECK (hit IS NULL OR result IS NULL),
    CHECK (state = 'done' OR (hit IS NULL AND result IS NULL))
) STRICT;

CREATE INDEX idempotency_by_expiry ON idempotency (expires_at_ms);

CREATE TRIGGER a_key_has_one_call_at_a_time
BEFORE UPDATE OF generation_id ON idempotency
WHEN old.state = 'in_progress' AND new.generation_id <> old.generation_id
 AND EXISTS (SELECT 1 FROM owners WHERE owner_id = old.owner_id AND lease_until_ms >= new.taken_at_ms)
BEGIN
    SELECT RAISE(ABORT, 'a key has one call at a time');
END;

-- Only a stored answer that turned out to be unreadable may give way to a call, and only to its own.
CREATE TRIGGER a_kept_result_stays_until_it_expires
BEFORE UPDATE ON idempotency
WHEN old.state = 'done' AND new.taken_at_ms < old.expires_at_ms
 AND NOT (old.result IS NULL AND new.generation_id = old.generation_id)
BEGIN
    SELECT RAISE(ABORT, 'a kept result stays until it expires');
END;

-- Spend added up by the hour, for reports that stay fast: kept by the triggers below, in the transaction of the facts.
-- Attempts are in the hour of their hold, at their deployment; generations in the hour of the call, at the deployment
-- that answered. What is still open is not here. basis: of an attempt's newest line; `free` where nothing was charged.
CREATE TABLE spend_hours (
    hour_ms INTEGER NOT NULL,
    deployment TEXT NOT NULL,
    route TEXT NOT NULL,
    key_id TEXT NOT NULL,
    team TEXT NOT NULL,
    basis TEXT NOT NULL,
    outcome TEXT NOT NULL,
    cost_nanousd INTEGER NOT NULL DEFAULT 0,
    saved_nanousd INTEGER NOT NULL DEFAULT 0,
    generations INTEGER NOT NULL DEFAULT 0,
    attempts INTEGER NOT NULL DEFAULT 0,
    cache_hits INTEGER NOT NULL DEFAULT 0,
    coalesced INTEGER NOT NULL DEFAULT 0,
    prompt_tokens INTEGER NOT NULL DEFAULT 0,
    completion_tokens INTEGER NOT NULL DEFAULT 0,
    cached_tokens INTEGER NOT NULL DEFAULT 0,
    reasoning_tokens INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (hour_ms, deployment, route, key_id, team, basis, outcome)
) STRICT, WITHOUT ROWID;

-- A generation that has not ended yet.
CREATE INDEX open_generations ON generations (created_at_ms) WHERE outcome IS NULL;

-- Each line with its totals: all that was read and written, of any class, and what came from the provider's cache. NULL:
-- nobody knows.
CREATE VIEW counted_lines AS
SELECT seq, hold_id, kind, cost_nanousd, cost_basis,
       input_tokens + cached_tokens + cache_write_tokens + COALESCE(cache_write_1h_tokens, 0)
           + COALESCE(input_audio_tokens, 0) + COALESCE(cached_audio_tokens, 0) + COALESCE(input_image_tokens, 0)
           AS prompt_tokens,
       output_tokens + reasoning_tokens + COALESCE(output_audio_tokens, 0) + COALESCE(output_image_tokens, 0)
           AS completion_tokens,
       cached_tokens + COALESCE(cached_audio_tokens, 0) AS cache_read_tokens,
       reasoning_tokens
  FROM postings;

-- Every line by its hold, by way of the two partial indexes.
CREATE VIEW lines_of_holds AS
SELECT hold_id, seq, kind, cost_nanousd, cost_basis, prompt_tokens, completion_tokens, cache_read_tokens, reasoning_tokens
  FROM counted_lines WHERE kind <> 'correction'
 UNION ALL
SELECT hold_id, seq, kind, cost_nanousd, cost_basis, prompt_tokens, completion_tokens, cache_read_tokens, reasoning_tokens
  FROM counted_lines WHERE kind = 'correction';

CREATE TRIGGER a_hold_without_charge_is_added_up
AFTER UPDATE OF state ON holds
WHEN new.state = 'released'
BEGIN
    INSERT INTO spend_hours (hour_ms, deployment, route, key_id, team, basis, outcome,
                             attempts)
    SELECT new.taken_at_ms - new.taken_at_ms % 3600000, new.deployment, g.route, g.key_id, g.team, 'free', new.outcome,
           1
      FROM generations AS g
     WHERE g.generation_id = new.generation_id
        ON CONFLICT (hour_ms, deployment, route, key_id, team, basis, outcome) DO UPDATE
       SET attempts = attempts + excluded.attempts;
    INSERT INTO closed_spend (at_ms, deployment, route, key_id, team, user_id, workflow, basis, outcome, attempts)
    SELECT new.taken_at_ms, new.deployment, g.route, g.key_id, g.team, g.user_id, g.workflow, 'free', new.outcome, 1
      FROM generations AS g
     WHERE g.generation_id = new.generation_id AND new.taken_at_ms < (SELECT until_ms FROM pairs_added_up)
       AND new.taken_at_ms >= (SELECT since_ms FROM pairs_added_up);
END;

CREATE TRIGGER a_line_is_added_up
AFTER INSERT ON postings
BEGIN
    INSERT INTO spend_hours (hour_ms, deployment, route, key_id, team, basis, outcome,
                             cost_nanousd, attempts, prompt_tokens, completion_tokens, cached_tokens, reasoning_tokens)
    SELECT h.taken_at_ms - h.taken_at_ms % 3600000, h.deployment, g.route, g.key_id, g.team, new.cost_basis, h.outcome,
           new.cost_nanousd, new.kind <> 'correction',
           COALESCE(p.prompt_tokens, 0), COALESCE(p.completion_tokens, 0), COALESCE(p.cache_read_tokens, 0),
           COALESCE(p.reasoning_tokens, 0)
      FROM counted_lines AS p
      JOIN holds AS h USING (hold_id)
      JOIN generations AS g USING (generation_id)
     WHERE p.seq = new.seq
        ON CONFLICT (hour_ms, deployment, route, key_id, team, basis, outcome) DO UPDATE
       SET cost_nanousd = cost_nanousd + excluded.cost_nanousd, attempts = attempts + excluded.attempts,
           prompt_tokens = prompt_tokens + excluded.prompt_tokens,
           completion_tokens = completion_tokens + excluded.completion_tokens,
           cached_tokens = cached_tokens + excluded.cached_tokens,
           reasoning_tokens = reasoning_tokens + excluded.reasoning_tokens;
END;

CREATE TRIGGER an_ended_generation_is_added_up
AFTER UPDATE OF outcome ON generations
WHEN new.outcome IS NOT NULL
BEGIN
    INSERT INTO spend_hours (hour_ms, deployment, route, key_id, team, basis, outcome,
                             saved_nanousd, generations, cache_hits, coalesced)
    SELECT new.created_at_ms - new.created_at_ms % 3600000, new.deployment, new.route, new.key_id, new.team,
           COALESCE(new.cost_basis, 'unknown'), new.outcome,
           new.saved_nanousd, 1, (new.cache = 'hit'), (new.cache = 'coalesced')
     WHERE true
        ON CONFLICT (hour_ms, deployment, route, key_id, team, basis, outcome) DO UPDATE
       SET saved_nanousd = saved_nanousd + excluded.saved_nanousd, generations = generations + excluded.generations,
           cache_hits = cache_hits + excluded.cache_hits, coalesced = coalesced + excluded.coalesced;
END;

CREATE TRIGGER how_an_attempt_ended_stays
BEFORE UPDATE OF outcome ON holds
WHEN old.outcome IS NOT NULL AND new.outcome IS NOT old.outcome
BEGIN
    SELECT RAISE(ABORT, 'how an attempt ended stays');
END;

-- The same counts of latency by the day, so that a report over a year does not read every hour of it.
CREATE TABLE latency_days (
    day_ms INTEGER NOT NULL,
    deployment TEXT NOT NULL,
    kind TEXT NOT NULL,
    bucket INTEGER NOT NULL,
    count INTEGER NOT NULL,
    sum_us INTEGER NOT NULL,
    max_us INTEGER NOT NULL,
    PRIMARY KEY (day_ms, deployment, kind, bucket)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER a_first_latency_of_an_hour_is_added_up
AFTER INSERT ON latency_buckets
BEGIN
    INSERT INTO latency_days (day_ms, deployment, kind, bucket, count, sum_us, max_us)
    VALUES (new.hour_ms - new.hour_ms % 86400000, new.deployment, new.kind, new.bucket, new.count, new.sum_us, new.max_us)
        ON CONFLICT (day_ms, deployment, kind, bucket) DO UPDATE
       SET count = count + excluded.count, sum_us = sum_us + excluded.sum_us, max_us = MAX(max_us, excluded.max_us);
END;

CREATE TRIGGER a_latency_is_added_up
AFTER UPDATE OF count ON latency_buckets
BEGIN
    UPDATE latency_days
       SET count = count + new.count - old.count, sum_us = sum_us + new.sum_us - old.sum_us,
           max_us = MAX(max_us, new.max_us)
     WHERE day_ms = new.hour_ms - new.hour_ms % 86400000 AND deployment = new.deployment AND kind = new.kind
       AND bucket = new.bucket;
END;

-- Old detail folded into closing balances.

-- A balance in the place of the first lines, which are gone: how many they were, what they came to, and the digest of
-- the last of them, which the chain goes on from. Each one counts from the first line ever. before_ms: what was asked
-- to be folded.
CREATE TABLE closings (
    through_seq INTEGER NOT NULL PRIMARY KEY CHECK (through_seq >= 1),
    chain BLOB NOT NULL CHECK (length(chain) = 32),
    postings INTEGER NOT NULL CHECK (postings = through_seq),
    cost_nanousd INTEGER NOT NULL,
    before_ms INTEGER NOT NULL,
    closed_at_ms INTEGER NOT NULL
) STRICT;

CREATE TRIGGER a_closing_is_what_its_lines_come_to
BEFORE INSERT ON closings
WHEN new.chain IS NOT (SELECT chain FROM postings WHERE seq = new.through_seq)
  OR NOT EXISTS (SELECT 1 FROM postings WHERE seq > new.through_seq)
  OR new.postings <> (SELECT COALESCE(MAX(postings), 0) FROM closings)
                     + (SELECT COUNT(*) FROM postings WHERE seq <= new.through_seq)
  OR new.cost_nanousd <> COALESCE((SELECT cost_nanousd FROM closings ORDER BY through_seq DESC LIMIT 1), 0)
                         + (SELECT SUM(cost_nanousd) FROM postings WHERE seq <= new.through_seq)
BEGIN
    SELECT RAISE(ABORT, 'a closing is what its lines come to');
END;

CREATE TRIGGER a_closing_never_changes
BEFORE UPDATE ON closings
BEGIN
    SELECT RAISE(ABORT, 'a closing never changes');
END;

CREATE TRIGGER a_closing_never_vanishes
BEFORE DELETE ON closings
BEGIN
    SELECT RAISE(ABORT, 'a closing never vanishes');
END;

-- The only lines that may go are those that a closing stands for.
CREATE TRIGGER a_posting_never_vanishes
BEFORE DELETE ON postings
WHEN NOT EXISTS (SELECT 1 FROM closings WHERE through_seq >= old.seq)
BEGIN
    SELECT RAISE(ABORT, 'a posting never vanishes');
END;

-- The only holds that may go were closed before a moment that was folded, and have no line left.
CREATE TRIGGER a_hold_never_vanishes
BEFORE DELETE ON holds
WHEN old.state = 'held'
  OR NOT EXISTS (SELECT 1 FROM closings WHERE before_ms > old.closed_at_ms)
  OR EXISTS (SELECT 1 FROM postings WHERE hold_id = old.hold_id AND kind <> 'correction')
  OR EXISTS (SELECT 1 FROM postings WHERE hold_id = old.hold_id AND kind = 'correction')
BEGIN
    SELECT RAISE(ABORT, 'a hold never vanishes');
END;

-- How far the service's own audit has come: the newest line it looked at and that line's digest. next_look_at_ms: before
-- this moment no other process looks.
CREATE TABLE audit (
    id INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
    seq INTEGER NOT NULL,
    chain BLOB NOT NULL CHECK (length(chain) = 32),
    looked_at_ms INTEGER,
    took_us INTEGER NOT NULL,
    next_look_at_ms INTEGER NOT NULL
) STRICT;

INSERT INTO audit (id, seq, chain, took_us, next_look_at_ms) VALUES (1, 0, zeroblob(32), 0, 0);

-- What all processes remember together, as the router wrote it (JSON), by subject: `breaker openai:gpt-4o-mini`.
-- version: higher than any before, so that a process asks only for what it has not seen.
CREATE TABLE memory (
    subject TEXT NOT NULL PRIMARY KEY,
    version INTEGER NOT NULL UNIQUE,
    remembered TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- How flights failed of late, for calls in other processes that waited for exactly them: what the router makes of it for
-- their callers. Only where other processes are alive, until until_ms, and no more than the newest few thousand.
CREATE TABLE failed_flights (
    failure_id INTEGER NOT NULL PRIMARY KEY,
    generation_id TEXT NOT NULL UNIQUE,
    failure BLOB NOT NULL,
    until_ms INTEGER NOT NULL
) STRICT;

-- Sums that the service's own audit follows line by line, as they have to be after line `seq`: of a ceiling's window, or,
-- where ceiling_id is empty, of an hour in `spend_hours` (nano-dollars). ceilings_epoch: the ceilings that were in force.
CREATE TABLE followed_sums (
    ceiling_id TEXT NOT NULL,
    starts_at_ms INTEGER NOT NULL,
    amount INTEGER NOT NULL,
    ceilings_epoch INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    PRIMARY KEY (ceiling_id, starts_at_ms)
) STRICT, WITHOUT ROWID;

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
    counts TEXT NOT NULL CHECK (counts IN ('nanousd', 'tokens', 'calls')),
    limit_amount INTEGER NOT NULL CHECK (limit_amount >= 0),
    PRIMARY KEY (key_id, window, counts)
) STRICT, WITHOUT ROWID;

-- What happened that people want to be told of, once for each dedup_key: written by the transaction that made it so, and
-- kept until it is old and cannot happen again (`ledger.operations.events.forget_events`). facts: JSON.
CREATE TABLE events (
    seq INTEGER NOT NULL PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    type TEXT NOT NULL,
    dedup_key TEXT NOT NULL UNIQUE,
    at_ms INTEGER NOT NULL,
    facts TEXT NOT NULL,
    acknowledged_at_ms INTEGER,
    acknowledged_by TEXT,
    CHECK ((acknowledged_at_ms IS NULL) = (acknowledged_by IS NULL))
) STRICT;

CREATE INDEX events_by_type ON events (type, seq);

CREATE TRIGGER an_event_is_only_ever_acknowledged
BEFORE UPDATE ON events
WHEN old.acknowledged_at_ms IS NOT NULL OR new.acknowledged_at_ms IS NULL
     OR (new.seq, new.id, new.type, new.dedup_key, new.at_ms, new.facts)
        <> (old.seq, old.id, old.type, old.dedup_key, old.at_ms, old.facts)
BEGIN
    SELECT RAISE(ABORT, 'an event changes in nothing but that it is acknowledged, once');
END;

-- How the delivery of one event to one target goes: pending -> delivered or dead; dead -> pending by hand. next_at: when
-- it is tried next. last_*: how the last try ended; status NULL: there was no answer. digest_seq: the event that told of
-- it together with others, and was delivered in its place.
CREATE TABLE deliveries (
    event_seq INTEGER NOT NULL REFERENCES events (seq),
    target TEXT NOT NULL CHECK (length(target) > 0),
    state TEXT NOT NULL CHECK (state IN ('pending', 'delivered', 'dead')),
    tries INTEGER NOT NULL CHECK (tries >= 0),
    next_at_ms INTEGER,
    last_at_ms INTEGER,
    last_status INTEGER,
    last_error TEXT,
    digest_seq INTEGER REFERENCES events (seq),
    PRIMARY KEY (event_seq, target),
    CHECK ((state = 'pending') = (next_at_ms IS NOT NULL))
) STRICT, WITHOUT ROWID;

CREATE INDEX pending_deliveries ON deliveries (next_at_ms) WHERE state = 'pending';

CREATE TRIGGER a_delivery_begins_pending
BEFORE INSERT ON deliveries
WHEN new.state <> 'pending'
BEGIN
    SELECT RAISE(ABORT, 'a delivery begins pending');
END;

CREATE TRIGGER a_delivery_ends_once
BEFORE UPDATE ON deliveries
WHEN (new.event_seq, new.target) <> (old.event_seq, old.target)
     OR NOT (old.state = 'pending' OR (old.state = 'dead' AND new.state = 'pending'))
BEGIN
    SELECT RAISE(ABORT, 'a delivery ends once, and only a dead one is begun again');
END;

-- How far each target has seen the events: what was there before its first sight is not for it.
CREATE TABLE alert_targets (
    target TEXT NOT NULL PRIMARY KEY,
    seen_seq INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- What one process does for all on the file, and which: void once that owner's lease is over.
CREATE TABLE duties (
    duty TEXT NOT NULL PRIMARY KEY,
    owner_id TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- The same sums for each user, workflow and run that calls named, so that a report by one of them does not count call by
-- call. dimension: which of the three `name` is one of. Calls that named none are the rest of `spend_hours`. Ten days are a
-- period, in which all of a name's rows stand together: to add them up, nothing is sorted. Folded detail takes its rows
-- along.
CREATE TABLE spend_hours_by_name (
    dimension TEXT NOT NULL CHECK (dimension IN ('user', 'workflow', 'run')),
    period_ms INTEGER NOT NULL CHECK (period_ms = hour_ms - hour_ms % 864000000),
    name TEXT NOT NULL CHECK (name <> ''),
    deployment TEXT NOT NULL,
    route TEXT NOT NULL,
    key_id TEXT NOT NULL,
    team TEXT NOT NULL,
    basis TEXT NOT NULL,
    outcome TEXT NOT NULL,
    hour_ms INTEGER NOT NULL,
    cost_nanousd INTEGER NOT NULL DEFAULT 0,
    saved_nanousd INTEGER NOT NULL DEFAULT 0,
    generations INTEGER NOT NULL DEFAULT 0,
    attempts INTEGER NOT NULL DEFAULT 0,
    cache_hits INTEGER NOT NULL DEFAULT 0,
    coalesced INTEGER NOT NULL DEFAULT 0,
    prompt_tokens INTEGER NOT NULL DEFAULT 0,
    completion_tokens INTEGER NOT NULL DEFAULT 0,
    cached_tokens INTEGER NOT NULL DEFAULT 0,
    reasoning_tokens INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (dimension, period_ms, name, deployment, route, key_id, team, basis, outcome, hour_ms)
) STRICT, WITHOUT ROWID;

-- What a call named, a row each.
CREATE VIEW named_generations AS
SELECT generation_id, created_at_ms, route, key_id, team, 'user' AS dimension, user_id AS name
  FROM generations WHERE user_id <> ''
 UNION ALL
SELECT generation_id, created_at_ms, route, key_id, team, 'workflow', workflow FROM generations WHERE workflow <> ''
 UNION ALL
SELECT generation_id, created_at_ms, route, key_id, team, 'run', run FROM generations WHERE run <> '';

-- What those sums are made of: every closed attempt, correction and ended call, once for each of its names.
CREATE VIEW named_spend AS
SELECT g.dimension, h.taken_at_ms - h.taken_at_ms % 3600000 AS hour_ms, g.name, h.deployment, g.route, g.key_id, g.team,
       COALESCE((SELECT c.cost_basis FROM postings AS c WHERE c.hold_id = h.hold_id AND c.kind = 'correction'
                  ORDER BY c.seq DESC LIMIT 1), p.cost_basis, 'free') AS basis,
       h.outcome, COALESCE(p.cost_nanousd, 0) AS cost_nanousd, 0 AS saved_nanousd, 0 AS generations, 1 AS attempts,
       0 AS cache_hits, 0 AS coalesced, COALESCE(p.prompt_tokens, 0) AS prompt_tokens,
       COALESCE(p.completion_tokens, 0) AS completion_tokens, COALESCE(p.cache_read_tokens, 0) AS cached_tokens,
       COALESCE(p.reasoning_tokens, 0) AS reasoning_tokens
  FROM holds AS h
  JOIN named_generations AS g USING (generation_id)
  LEFT JOIN counted_lines AS p ON p.hold_id = h.hold_id AND p.kind <> 'correction'
 WHERE h.state <> 'held'
 UNION ALL
SELECT g.dimension, h.taken_at_ms - h.taken_at_ms % 3600000, g.name, h.deployment, g.route, g.key_id, g.team,
       (SELECT c.cost_basis FROM postings AS c WHERE c.hold_id = h.hold_id AND c.kind = 'correction'
         ORDER BY c.seq DESC LIMIT 1),
       h.outcome, p.cost_nanousd, 0, 0, 0, 0, 0, COALESCE(p.prompt_tokens, 0), COALESCE(p.completion_tokens, 0),
       COALESCE(p.cache_read_tokens, 0), COALESCE(p.reasoning_tokens, 0)
  FROM holds AS h
  JOIN named_generations AS g USING (generation_id)
  JOIN counted_lines AS p ON p.hold_id = h.hold_id AND p.kind = 'correction'
 UNION ALL
SELECT n.dimension, g.created_at_ms - g.created_at_ms % 3600000, n.name, g.deployment, g.route, g.key_id, g.team,
       COALESCE(g.cost_basis, 'unknown'), g.outcome, 0, g.saved_nanousd, 1, 0, g.cache = 'hit', g.cache = 'coalesced',
       0, 0, 0, 0
  FROM generations AS g
  JOIN named_generations AS n USING (generation_id)
 WHERE g.outcome IS NOT NULL;

CREATE TRIGGER a_hold_without_charge_is_added_up_by_name
AFTER UPDATE OF state ON holds
WHEN new.state = 'released'
BEGIN
    INSERT INTO spend_hours_by_name (dimension, period_ms, name, deployment, route, key_id, team, basis, outcome, hour_ms,
                                     attempts)
    SELECT g.dimension, new.taken_at_ms - new.taken_at_ms % 864000000, g.name, new.deployment, g.route, g.key_id, g.team,
           'free', new.outcome, new.taken_at_ms - new.taken_at_ms % 3600000, 1
      FROM named_generations AS g
     WHERE g.generation_id = new.generation_id
        ON CONFLICT (dimension, period_ms, name, deployment, route, key_id, team, basis, outcome, hour_ms) DO UPDATE
       SET attempts = attempts + excluded.attempts;
END;

-- Before which moment events may be forgotten.
CREATE TABLE events_forgotten (
    id INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
    before_ms INTEGER NOT NULL
) STRICT;

INSERT INTO events_forgotten (id, before_ms) VALUES (1, 0);

CREATE INDEX events_by_time ON events (at_ms);
CREATE INDEX deliveries_by_digest ON deliveries (digest_seq) WHERE digest_seq IS NOT NULL;

-- What was told once is not to be told again: only events before a moment that was given up go, none that still has to be
-- delivered, and never the newest, whose number the next one would take.
CREATE TRIGGER an_event_never_vanishes
BEFORE DELETE ON events
WHEN old.at_ms >= (SELECT before_ms FROM events_forgotten)
  OR old.seq = (SELECT MAX(seq) FROM events)
  OR EXISTS (SELECT 1 FROM deliveries WHERE event_seq = old.seq AND state = 'pending')
BEGIN
    SELECT RAISE(ABORT, 'an event never vanishes: it would be told again');
END;

CREATE TRIGGER a_delivery_never_vanishes
BEFORE DELETE ON deliveries
WHEN old.state = 'pending'
  OR (SELECT at_ms FROM events WHERE seq = old.event_seq) >= (SELECT before_ms FROM events_forgotten)
BEGIN
    SELECT RAISE(ABORT, 'a delivery never vanishes');
END;

-- The same sums by the day, so that a report over a month does not read every hour of each name.
CREATE TABLE spend_days_by_name (
    dimension TEXT NOT NULL,
    period_ms INTEGER NOT NULL,
    name TEXT NOT NULL,
    deployment TEXT NOT NULL,
    route TEXT NOT NULL,
    key_id TEXT NOT NULL,
    team TEXT NOT NULL,
    basis TEXT NOT NULL,
    outcome TEXT NOT NULL,
    day_ms INTEGER NOT NULL,
    cost_nanousd INTEGER NOT NULL,
    saved_nanousd INTEGER NOT NULL,
    generations INTEGER NOT NULL,
    attempts INTEGER NOT NULL,
    cache_hits INTEGER NOT NULL,
    coalesced INTEGER NOT NULL,
    prompt_tokens INTEGER NOT NULL,
    completion_tokens INTEGER NOT NULL,
    cached_tokens INTEGER NOT NULL,
    reasoning_tokens INTEGER NOT NULL,
    PRIMARY KEY (dimension, period_ms, name, deployment, route, key_id, team, basis, outcome, day_ms)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER a_first_spend_of_an_hour_by_name_is_added_up
AFTER INSERT ON spend_hours_by_name
BEGIN
    INSERT INTO spend_days_by_name (dimension, period_ms, name, deployment, route, key_id, team, basis, outcome,
                                    day_ms, cost_nanousd, saved_nanousd, generations, attempts, cache_hits, coalesced,
                                    prompt_tokens, completion_tokens, cached_tokens, reasoning_tokens)
    VALUES (new.dimension, new.period_ms, new.name, new.deployment, new.route, new.key_id, new.team, new.basis,
            new.outcome, new.hour_ms - new.hour_ms % 86400000, new.cost_nanousd, new.saved_nanousd, new.generations,
            new.attempts, new.cache_hits, new.coalesced, new.prompt_tokens, new.completion_tokens, new.cached_tokens,
            new.reasoning_tokens)
        ON CONFLICT (dimension, period_ms, name, deployment, route, key_id, team, basis, outcome, day_ms) DO UPDATE
       SET cost_nanousd = cost_nanousd + excluded.cost_nanousd, saved_nanousd = saved_nanousd + excluded.saved_nanousd,
           generations = generations + excluded.generations, attempts = attempts + excluded.attempts,
           cache_hits = cache_hits + excluded.cache_hits, coalesced = coalesced + excluded.coalesced,
           prompt_tokens = prompt_tokens + excluded.prompt_tokens,
           completion_tokens = completion_tokens + excluded.completion_tokens,
           cached_tokens = cached_tokens + excluded.cached_tokens,
           reasoning_tokens = reasoning_tokens + excluded.reasoning_tokens;
END;

CREATE TRIGGER a_spend_by_name_is_added_up
AFTER UPDATE OF cost_nanousd, saved_nanousd, generations, attempts, cache_hits, coalesced, prompt_tokens,
                completion_tokens, cached_tokens, reasoning_tokens
ON spend_hours_by_name
BEGIN
    INSERT INTO spend_days_by_name (dimension, period_ms, name, deployment, route, key_id, team, basis, outcome,
                                    day_ms, cost_nanousd, saved_nanousd, generations, attempts, cache_hits, coalesced,
                                    prompt_tokens, completion_tokens, cached_tokens, reasoning_tokens)
    VALUES (new.dimension, new.period_ms, new.name, new.deployment, new.route, new.key_id, new.team, new.basis,
            new.outcome, new.hour_ms - new.hour_ms % 86400000, new.cost_nanousd - old.cost_nanousd,
            new.saved_nanousd - old.saved_nanousd, new.generations - old.generations, new.attempts - old.attempts,
            new.cache_hits - old.cache_hits, new.coalesced - old.coalesced, new.prompt_tokens - old.prompt_tokens,
            new.completion_tokens - old.completion_tokens, new.cached_tokens - old.cached_tokens,
            new.reasoning_tokens - old.reasoning_tokens)
        ON CONFLICT (dimension, period_ms, name, deployment, route, key_id, team, basis, outcome, day_ms) DO UPDATE
       SET cost_nanousd = cost_nanousd + excluded.cost_nanousd, saved_nanousd = saved_nanousd + excluded.saved_nanousd,
           generations = generations + excluded.generations, attempts = attempts + excluded.attempts,
           cache_hits = cache_hits + excluded.cache_hits, coalesced = coalesced + excluded.coalesced,
           prompt_tokens = prompt_tokens + excluded.prompt_tokens,
           completion_tokens = completion_tokens + excluded.completion_tokens,
           cached_tokens = cached_tokens + excluded.cached_tokens,
           reasoning_tokens = reasoning_tokens + excluded.reasoning_tokens;
END;

-- What is left of a day that was folded in part is what is left of its hours.
CREATE TRIGGER a_spend_by_name_that_goes_is_taken_off
AFTER DELETE ON spend_hours_by_name
BEGIN
    INSERT INTO spend_days_by_name (dimension, period_ms, name, deployment, route, key_id, team, basis, outcome,
                                    day_ms, cost_nanousd, saved_nanousd, generations, attempts, cache_hits, coalesced,
                                    prompt_tokens, completion_tokens, cached_tokens, reasoning_tokens)
    VALUES (old.dimension, old.period_ms, old.name, old.deployment, old.route, old.key_id, old.team, old.basis,
            old.outcome, old.hour_ms - old.hour_ms % 86400000, -old.cost_nanousd, -old.saved_nanousd, -old.generations,
            -old.attempts, -old.cache_hits, -old.coalesced, -old.prompt_tokens, -old.completion_tokens,
            -old.cached_tokens, -old.reasoning_tokens)
        ON CONFLICT (dimension, period_ms, name, deployment, route, key_id, team, basis, outcome, day_ms) DO UPDATE
       SET cost_nanousd = cost_nanousd + excluded.cost_nanousd, saved_nanousd = saved_nanousd + excluded.saved_nanousd,
           generations = generations + excluded.generations, attempts = attempts + excluded.attempts,
           cache_hits = cache_hits + excluded.cache_hits, coalesced = coalesced + excluded.coalesced,
           prompt_tokens = prompt_tokens + excluded.prompt_tokens,
           completion_tokens = completion_tokens + excluded.completion_tokens,
           cached_tokens = cached_tokens + excluded.cached_tokens,
           reasoning_tokens = reasoning_tokens + excluded.reasoning_tokens;
    DELETE FROM spend_days_by_name
     WHERE dimension = old.dimension AND period_ms = old.period_ms AND name = old.name AND deployment = old.deployment
       AND route = old.route AND key_id = old.key_id AND team = old.team AND basis = old.basis AND outcome = old.outcome
       AND day_ms = old.hour_ms - old.hour_ms % 86400000
       AND (cost_nanousd, saved_nanousd, generations, attempts, cache_hits, coalesced, prompt_tokens,
            completion_tokens, cached_tokens, reasoning_tokens)
           = (0, 0, 0, 0, 0, 0, 0, 0, 0, 0);
END;

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

-- Nowhere: it never has a row, so that nobody can commit what refers to one.
CREATE TABLE nowhere (
    id INTEGER NOT NULL PRIMARY KEY CHECK (id <> id)
) STRICT;

-- While there is a row, what lines and calls add to users, workflows and runs is not added up one by one but postponed, and
-- is added up by groups when the row goes. That has to be before the transaction ends: SQLite commits nothing that leads
-- nowhere.
CREATE TABLE postponing (
    id INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
    ends_before_commit INTEGER NOT NULL DEFAULT 0 REFERENCES nowhere (id) DEFERRABLE INITIALLY DEFERRED
) STRICT;

-- What is to be added up then.
CREATE TABLE postponed (
    hour_ms INTEGER NOT NULL,
    deployment TEXT NOT NULL,
    route TEXT NOT NULL,
    key_id TEXT NOT NULL,
    team TEXT NOT NULL,
    user_id TEXT NOT NULL,
    workflow TEXT NOT NULL,
    run TEXT NOT NULL,
    basis TEXT NOT NULL,
    outcome TEXT NOT NULL,
    cost_nanousd INTEGER NOT NULL DEFAULT 0,
    saved_nanousd INTEGER NOT NULL DEFAULT 0,
    generations INTEGER NOT NULL DEFAULT 0,
    attempts INTEGER NOT NULL DEFAULT 0,
    cache_hits INTEGER NOT NULL DEFAULT 0,
    coalesced INTEGER NOT NULL DEFAULT 0,
    prompt_tokens INTEGER NOT NULL DEFAULT 0,
    completion_tokens INTEGER NOT NULL DEFAULT 0,
    cached_tokens INTEGER NOT NULL DEFAULT 0,
    reasoning_tokens INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE TRIGGER what_was_postponed_is_added_up
AFTER DELETE ON postponing
BEGIN
    INSERT INTO spend_hours_by_name (dimension, period_ms, name, deployment, route, key_id, team, basis, outcome,
                                    hour_ms, cost_nanousd, saved_nanousd, generations, attempts, cache_hits, coalesced,
                                    prompt_tokens, completion_tokens, cached_tokens, reasoning_tokens)
    SELECT named.dimension, hour_ms - hour_ms % 864000000,
           CASE named.dimension WHEN 'user' THEN user_id WHEN 'workflow' THEN workflow ELSE run END AS name, deployment,
           route, key_id, team, basis, outcome, hour_ms, SUM(cost_nanousd), SUM(saved_nanousd), SUM(generations),
           SUM(attempts), SUM(cache_hits), SUM(coalesced), SUM(prompt_tokens), SUM(completion_tokens),
           SUM(cached_tokens), SUM(reasoning_tokens)
      FROM postponed
     CROSS JOIN (SELECT 'user' AS dimension UNION ALL SELECT 'workflow' UNION ALL SELECT 'run') AS named
     WHERE name <> ''
     GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9, 10
        ON CONFLICT (dimension, period_ms, name, deployment, route, key_id, team, basis, outcome, hour_ms) DO UPDATE
       SET cost_nanousd = cost_nanousd + excluded.cost_nanousd, saved_nanousd = saved_nanousd + excluded.saved_nanousd,
           generations = generations + excluded.generations, attempts = attempts + excluded.attempts,
           cache_hits = cache_hits + excluded.cache_hits, coalesced = coalesced + excluded.coalesced,
           prompt_tokens = prompt_tokens + excluded.prompt_tokens,
           completion_tokens = completion_tokens + excluded.completion_tokens,
           cached_tokens = cached_tokens + excluded.cached_tokens,
           reasoning_tokens = reasoning_tokens + excluded.reasoning_tokens;
    DELETE FROM postponed;
END;

CREATE TRIGGER a_line_is_added_up_by_name
AFTER INSERT ON postings
WHEN NOT EXISTS (SELECT 1 FROM postponing)
 AND EXISTS (SELECT 1 FROM holds AS h JOIN generations AS g USING (generation_id)
              WHERE h.hold_id = new.hold_id AND (g.user_id <> '' OR g.workflow <> '' OR g.run <> ''))
BEGIN
    INSERT INTO spend_hours_by_name (dimension, period_ms, name, deployment, route, key_id, team, basis, outcome, hour_ms,
                                     cost_nanousd, attempts, prompt_tokens, completion_tokens, cached_tokens,
                                     reasoning_tokens)
    SELECT named.dimension, h.taken_at_ms - h.taken_at_ms % 864000000,
           CASE named.dimension WHEN 'user' THEN g.user_id WHEN 'workflow' THEN g.workflow ELSE g.run END AS name,
           h.deployment, g.route, g.key_id, g.team, new.cost_basis, h.outcome, h.taken_at_ms - h.taken_at_ms % 3600000,
           new.cost_nanousd, new.kind <> 'correction',
           COALESCE(p.prompt_tokens, 0), COALESCE(p.completion_tokens, 0), COALESCE(p.cache_read_tokens, 0),
           COALESCE(p.reasoning_tokens, 0)
      FROM counted_lines AS p
      JOIN holds AS h USING (hold_id)
      JOIN generations AS g USING (generation_id)
     CROSS JOIN (SELECT 'user' AS dimension UNION ALL SELECT 'workflow' UNION ALL SELECT 'run') AS named
     WHERE p.seq = new.seq
       AND CASE named.dimension WHEN 'user' THEN g.user_id WHEN 'workflow' THEN g.workflow ELSE g.run END <> ''
        ON CONFLICT (dimension, period_ms, name, deployment, route, key_id, team, basis, outcome, hour_ms) DO UPDATE
       SET cost_nanousd = cost_nanousd + excluded.cost_nanousd, attempts = attempts + excluded.attempts,
           prompt_tokens = prompt_tokens + excluded.prompt_tokens,
           completion_tokens = completion_tokens + excluded.completion_tokens,
           cached_tokens = cached_tokens + excluded.cached_tokens,
           reasoning_tokens = reasoning_tokens + excluded.reasoning_tokens;
END;

CREATE TRIGGER a_line_is_postponed
AFTER INSERT ON postings
WHEN EXISTS (SELECT 1 FROM postponing)
BEGIN
    INSERT INTO postponed (hour_ms, deployment, route, key_id, team, user_id, workflow, run, basis, outcome,
                           cost_nanousd, attempts, prompt_tokens, completion_tokens, cached_tokens, reasoning_tokens)
    SELECT h.taken_at_ms - h.taken_at_ms % 3600000, h.deployment, g.route, g.key_id, g.team, g.user_id, g.workflow,
           g.run, new.cost_basis, h.outcome, new.cost_nanousd, new.kind <> 'correction', COALESCE(p.prompt_tokens, 0),
           COALESCE(p.completion_tokens, 0), COALESCE(p.cache_read_tokens, 0), COALESCE(p.reasoning_tokens, 0)
      FROM counted_lines AS p
      JOIN holds AS h USING (hold_id)
      JOIN generations AS g USING (generation_id)
     WHERE p.seq = new.seq AND (g.user_id <> '' OR g.workflow <> '' OR g.run <> '');
END;

-- What an attempt cost before is as sure as its newest line is. And a line that is told late is added up by pair.
CREATE TRIGGER a_correction_moves_what_it_corrects
AFTER INSERT ON postings
WHEN new.kind = 'correction'
  OR EXISTS (SELECT 1 FROM holds AS h, pairs_added_up AS kept
              WHERE h.hold_id = new.hold_id AND h.taken_at_ms < kept.until_ms AND h.taken_at_ms >= kept.since_ms)
BEGIN
    INSERT INTO spend_hours (hour_ms, deployment, route, key_id, team, basis, outcome,
                             cost_nanousd, attempts, prompt_tokens, completion_tokens, cached_tokens, reasoning_tokens)
    SELECT h.taken_at_ms - h.taken_at_ms % 3600000, h.deployment, g.route, g.key_id, g.team, side.basis, h.outcome,
           side.sign * before.cost_nanousd, side.sign, side.sign * before.prompt_tokens,
           side.sign * before.completion_tokens, side.sign * before.cached_tokens, side.sign * before.reasoning_tokens
      FROM (SELECT COALESCE(SUM(cost_nanousd), 0) AS cost_nanousd,
                   COALESCE(SUM(prompt_tokens), 0) AS prompt_tokens,
                   COALESCE(SUM(completion_tokens), 0) AS completion_tokens,
                   COALESCE(SUM(cache_read_tokens), 0) AS cached_tokens,
                   COALESCE(SUM(reasoning_tokens), 0) AS reasoning_tokens
              FROM lines_of_holds
             WHERE hold_id = new.hold_id AND seq < new.seq) AS before,
           (SELECT -1 AS sign,
                   COALESCE((SELECT cost_basis FROM lines_of_holds WHERE hold_id = new.hold_id AND seq < new.seq
                              ORDER BY seq DESC LIMIT 1), 'free') AS basis
             UNION ALL
            SELECT 1, new.cost_basis) AS side,
           holds AS h
      JOIN generations AS g USING (generation_id)
     WHERE h.hold_id = new.hold_id AND new.kind = 'correction'
        ON CONFLICT (hour_ms, deployment, route, key_id, team, basis, outcome) DO UPDATE
       SET cost_nanousd = cost_nanousd + excluded.cost_nanousd, attempts = attempts + excluded.attempts,
           prompt_tokens = prompt_tokens + excluded.prompt_tokens,
           completion_tokens = completion_tokens + excluded.completion_tokens,
           cached_tokens = cached_tokens + excluded.cached_tokens,
           reasoning_tokens = reasoning_tokens + excluded.reasoning_tokens;
    INSERT INTO spend_hours_by_name (dimension, period_ms, name, deployment, route, key_id, team, basis, outcome, hour_ms,
                                     cost_nanousd, attempts, prompt_tokens, completion_tokens, cached_tokens,
                                     reasoning_tokens)
    SELECT g.dimension, h.taken_at_ms - h.taken_at_ms % 864000000, g.name, h.deployment, g.route, g.key_id, g.team,
           side.basis, h.outcome, h.taken_at_ms - h.taken_at_ms % 3600000,
           side.sign * before.cost_nanousd, side.sign, side.sign * before.prompt_tokens,
           side.sign * before.completion_tokens, side.sign * before.cached_tokens, side.sign * before.reasoning_tokens
      FROM (SELECT COALESCE(SUM(cost_nanousd), 0) AS cost_nanousd,
                   COALESCE(SUM(prompt_tokens), 0) AS prompt_tokens,
                   COALESCE(SUM(completion_tokens), 0) AS completion_tokens,
                   COALESCE(SUM(cache_read_tokens), 0) AS cached_tokens,
                   COALESCE(SUM(reasoning_tokens), 0) AS reasoning_tokens
              FROM lines_of_holds
             WHERE hold_id = new.hold_id AND seq < new.seq) AS before,
           (SELECT -1 AS sign,
                   COALESCE((SELECT cost_basis FROM lines_of_holds WHERE hold_id = new.hold_id AND seq < new.seq
                              ORDER BY seq DESC LIMIT 1), 'free') AS basis
             UNION ALL
            SELECT 1, new.cost_basis) AS side,
           holds AS h
      JOIN named_generations AS g USING (generation_id)
     WHERE h.hold_id = new.hold_id AND new.kind = 'correction'
        ON CONFLICT (dimension, period_ms, name, deployment, route, key_id, team, basis, outcome, hour_ms) DO UPDATE
       SET cost_nanousd = cost_nanousd + excluded.cost_nanousd, attempts = attempts + excluded.attempts,
           prompt_tokens = prompt_tokens + excluded.prompt_tokens,
           completion_tokens = completion_tokens + excluded.completion_tokens,
           cached_tokens = cached_tokens + excluded.cached_tokens,
           reasoning_tokens = reasoning_tokens + excluded.reasoning_tokens;
    INSERT INTO closed_spend (at_ms, deployment, route, key_id, team, user_id, workflow, basis, outcome,
                              cost_nanousd, attempts, prompt_tokens, completion_tokens, cached_tokens, reasoning_tokens)
    SELECT h.taken_at_ms, h.deployment, g.route, g.key_id, g.team, g.user_id, g.workflow, new.cost_basis, h.outcome,
           new.cost_nanousd, new.kind <> 'correction', p.prompt_tokens, p.completion_tokens, p.cache_read_tokens,
           p.reasoning_tokens
      FROM counted_lines AS p
      JOIN holds AS h USING (hold_id)
      JOIN generations AS g USING (generation_id)
      JOIN pairs_added_up AS kept ON h.taken_at_ms < kept.until_ms AND h.taken_at_ms >= kept.since_ms
     WHERE p.seq = new.seq;
    INSERT INTO closed_spend (at_ms, deployment, route, key_id, team, user_id, workflow, basis, outcome,
                              cost_nanousd, attempts, prompt_tokens, completion_tokens, cached_tokens, reasoning_tokens)
    SELECT h.taken_at_ms, h.deployment, g.route, g.key_id, g.team, g.user_id, g.workflow, side.basis, h.outcome,
           side.sign * before.cost_nanousd, side.sign, side.sign * before.prompt_tokens,
           side.sign * before.completion_tokens, side.sign * before.cached_tokens, side.sign * before.reasoning_tokens
      FROM (SELECT COALESCE(SUM(cost_nanousd), 0) AS cost_nanousd,
                   COALESCE(SUM(prompt_tokens), 0) AS prompt_tokens,
                   COALESCE(SUM(completion_tokens), 0) AS completion_tokens,
                   COALESCE(SUM(cache_read_tokens), 0) AS cached_tokens,
                   COALESCE(SUM(reasoning_tokens), 0) AS reasoning_tokens
              FROM lines_of_holds
             WHERE hold_id = new.hold_id AND seq < new.seq) AS before,
           (SELECT -1 AS sign,
                   COALESCE((SELECT cost_basis FROM lines_of_holds WHERE hold_id = new.hold_id AND seq < new.seq
                              ORDER BY seq DESC LIMIT 1), 'free') AS basis
             UNION ALL
            SELECT 1, new.cost_basis) AS side,
           holds AS h
      JOIN generations AS g USING (generation_id)
      JOIN pairs_added_up AS kept ON h.taken_at_ms < kept.until_ms AND h.taken_at_ms >= kept.since_ms
     WHERE h.hold_id = new.hold_id AND new.kind = 'correction';
END;

CREATE TRIGGER an_ended_generation_is_added_up_by_name
AFTER UPDATE OF outcome ON generations
WHEN new.outcome IS NOT NULL AND (new.user_id <> '' OR new.workflow <> '' OR new.run <> '')
 AND NOT EXISTS (SELECT 1 FROM postponing)
BEGIN
    INSERT INTO spend_hours_by_name (dimension, period_ms, name, deployment, route, key_id, team, basis, outcome, hour_ms,
                                     saved_nanousd, generations, cache_hits, coalesced)
    SELECT named.dimension, new.created_at_ms - new.created_at_ms % 864000000, named.name, new.deployment, new.route,
           new.key_id, new.team, COALESCE(new.cost_basis, 'unknown'), new.outcome,
           new.created_at_ms - new.created_at_ms % 3600000,
           new.saved_nanousd, 1, (new.cache = 'hit'), (new.cache = 'coalesced')
      FROM (SELECT 'user' AS dimension, new.user_id AS name
             UNION ALL SELECT 'workflow', new.workflow
             UNION ALL SELECT 'run', new.run) AS named
     WHERE named.name <> ''
        ON CONFLICT (dimension, period_ms, name, deployment, route, key_id, team, basis, outcome, hour_ms) DO UPDATE
       SET saved_nanousd = saved_nanousd + excluded.saved_nanousd, generations = generations + excluded.generations,
           cache_hits = cache_hits + excluded.cache_hits, coalesced = coalesced + excluded.coalesced;
END;

CREATE TRIGGER an_ended_generation_is_postponed
AFTER UPDATE OF outcome ON generations
WHEN new.outcome IS NOT NULL AND (new.user_id <> '' OR new.workflow <> '' OR new.run <> '')
 AND EXISTS (SELECT 1 FROM postponing)
BEGIN
    INSERT INTO postponed (hour_ms, deployment, route, key_id, team, user_id, workflow, run, basis, outcome,
                           saved_nanousd, generations, cache_hits, coalesced)
    SELECT new.created_at_ms - new.created_at_ms % 3600000, new.deployment, new.route, new.key_id, new.team,
           new.user_id, new.workflow, new.run, COALESCE(new.cost_basis, 'unknown'), new.outcome, new.saved_nanousd, 1,
           (new.cache = 'hit'), (new.cache = 'coalesced');
END;

-- A lost generation whose process was only late is told again. And one that ends late is added up by pair.
CREATE TRIGGER a_generation_told_again_is_moved
AFTER UPDATE OF outcome ON generations
WHEN old.outcome IS NOT NULL
  OR new.created_at_ms < (SELECT until_ms FROM pairs_added_up)
     AND new.created_at_ms >= (SELECT since_ms FROM pairs_added_up)
BEGIN
    INSERT INTO spend_hours (hour_ms, deployment, route, key_id, team, basis, outcome,
                             saved_nanousd, generations, cache_hits, coalesced)
    SELECT old.created_at_ms - old.created_at_ms % 3600000, old.deployment, old.route, old.key_id, old.team,
           COALESCE(old.cost_basis, 'unknown'), old.outcome,
           -old.saved_nanousd, -1, -(old.cache = 'hit'), -(old.cache = 'coalesced')
     WHERE old.outcome IS NOT NULL
        ON CONFLICT (hour_ms, deployment, route, key_id, team, basis, outcome) DO UPDATE
       SET saved_nanousd = saved_nanousd + excluded.saved_nanousd, generations = generations + excluded.generations,
           cache_hits = cache_hits + excluded.cache_hits, coalesced = coalesced + excluded.coalesced;
    INSERT INTO spend_hours_by_name (dimension, period_ms, name, deployment, route, key_id, team, basis, outcome, hour_ms,
                                     saved_nanousd, generations, cache_hits, coalesced)
    SELECT named.dimension, old.created_at_ms - old.created_at_ms % 864000000, named.name, old.deployment, old.route,
           old.key_id, old.team, COALESCE(old.cost_basis, 'unknown'), old.outcome,
           old.created_at_ms - old.created_at_ms % 3600000,
           -old.saved_nanousd, -1, -(old.cache = 'hit'), -(old.cache = 'coalesced')
      FROM (SELECT 'user' AS dimension, old.user_id AS name
             UNION ALL SELECT 'workflow', old.workflow
             UNION ALL SELECT 'run', old.run) AS named
     WHERE named.name <> '' AND old.outcome IS NOT NULL
        ON CONFLICT (dimension, period_ms, name, deployment, route, key_id, team, basis, outcome, hour_ms) DO UPDATE
       SET saved_nanousd = saved_nanousd + excluded.saved_nanousd, generations = generations + excluded.generations,
           cache_hits = cache_hits + excluded.cache_hits, coalesced = coalesced + excluded.coalesced;
    INSERT INTO closed_spend (at_ms, deployment, route, key_id, team, user_id, workflow, basis, outcome,
                              saved_nanousd, generations, cache_hits, coalesced)
    SELECT new.created_at_ms, new.deployment, new.route, new.key_id, new.team, new.user_id, new.workflow,
           COALESCE(new.cost_basis, 'unknown'), new.outcome,
           new.saved_nanousd, 1, (new.cache = 'hit'), (new.cache = 'coalesced')
     WHERE new.outcome IS NOT NULL
       AND new.created_at_ms < (SELECT until_ms FROM pairs_added_up)
       AND new.created_at_ms >= (SELECT since_ms FROM pairs_added_up);
    INSERT INTO closed_spend (at_ms, deployment, route, key_id, team, user_id, workflow, basis, outcome,
                              saved_nanousd, generations, cache_hits, coalesced)
    SELECT old.created_at_ms, old.deployment, old.route, old.key_id, old.team, old.user_id, old.workflow,
           COALESCE(old.cost_basis, 'unknown'), old.outcome,
           -old.saved_nanousd, -1, -(old.cache = 'hit'), -(old.cache = 'coalesced')
     WHERE old.outcome IS NOT NULL
       AND new.created_at_ms < (SELECT until_ms FROM pairs_added_up)
       AND new.created_at_ms >= (SELECT since_ms FROM pairs_added_up);
END;

-- Each hit pays for this: as few programs as can be. So this is also the rule for one that is told late; what it is added to by
-- the hour, and by name, is the next one's to say if it named any.
CREATE TRIGGER a_finished_generation_is_added_up
AFTER INSERT ON generations
WHEN new.outcome IS NOT NULL
 AND (new.user_id = '' AND new.workflow = '' AND new.run = '' OR EXISTS (SELECT 1 FROM postponing)
      OR new.created_at_ms < (SELECT until_ms FROM pairs_added_up)
         AND new.created_at_ms >= (SELECT since_ms FROM pairs_added_up))
BEGIN
    INSERT INTO spend_hours (hour_ms, deployment, route, key_id, team, basis, outcome,
                             saved_nanousd, generations, cache_hits, coalesced)
    SELECT new.created_at_ms - new.created_at_ms % 3600000, new.deployment, new.route, new.key_id, new.team,
           COALESCE(new.cost_basis, 'unknown'), new.outcome,
           new.saved_nanousd, 1, (new.cache = 'hit'), (new.cache = 'coalesced')
     WHERE new.user_id = '' AND new.workflow = '' AND new.run = '' OR EXISTS (SELECT 1 FROM postponing)
        ON CONFLICT (hour_ms, deployment, route, key_id, team, basis, outcome) DO UPDATE
       SET saved_nanousd = saved_nanousd + excluded.saved_nanousd, generations = generations + excluded.generations,
           cache_hits = cache_hits + excluded.cache_hits, coalesced = coalesced + excluded.coalesced;
    INSERT INTO postponed (hour_ms, deployment, route, key_id, team, user_id, workflow, run, basis, outcome,
                           saved_nanousd, generations, cache_hits, coalesced)
    SELECT new.created_at_ms - new.created_at_ms % 3600000, new.deployment, new.route, new.key_id, new.team,
           new.user_id, new.workflow, new.run, COALESCE(new.cost_basis, 'unknown'), new.outcome, new.saved_nanousd, 1,
           (new.cache = 'hit'), (new.cache = 'coalesced')
     WHERE (new.user_id <> '' OR new.workflow <> '' OR new.run <> '')
       AND EXISTS (SELECT 1 FROM postponing);
    INSERT INTO closed_spend (at_ms, deployment, route, key_id, team, user_id, workflow, basis, outcome,
                              saved_nanousd, generations, cache_hits, coalesced)
    SELECT new.created_at_ms, new.deployment, new.route, new.key_id, new.team, new.user_id, new.workflow,
           COALESCE(new.cost_basis, 'unknown'), new.outcome,
           new.saved_nanousd, 1, (new.cache = 'hit'), (new.cache = 'coalesced')
     WHERE new.created_at_ms < (SELECT until_ms FROM pairs_added_up)
       AND new.created_at_ms >= (SELECT since_ms FROM pairs_added_up);
END;

CREATE TRIGGER a_finished_generation_is_added_up_by_name
AFTER INSERT ON generations
WHEN new.outcome IS NOT NULL AND (new.user_id <> '' OR new.workflow <> '' OR new.run <> '')
 AND NOT EXISTS (SELECT 1 FROM postponing)
BEGIN
    INSERT INTO spend_hours (hour_ms, deployment, route, key_id, team, basis, outcome,
                             saved_nanousd, generations, cache_hits, coalesced)
    SELECT new.created_at_ms - new.created_at_ms % 3600000, new.deployment, new.route, new.key_id, new.team,
           COALESCE(new.cost_basis, 'unknown'), new.outcome,
           new.saved_nanousd, 1, (new.cache = 'hit'), (new.cache = 'coalesced')
     WHERE true
        ON CONFLICT (hour_ms, deployment, route, key_id, team, basis, outcome) DO UPDATE
       SET saved_nanousd = saved_nanousd + excluded.saved_nanousd, generations = generations + excluded.generations,
           cache_hits = cache_hits + excluded.cache_hits, coalesced = coalesced + excluded.coalesced;
    INSERT INTO spend_hours_by_name (dimension, period_ms, name, deployment, route, key_id, team, basis, outcome, hour_ms,
                                     saved_nanousd, generations, cache_hits, coalesced)
    SELECT named.dimension, new.created_at_ms - new.created_at_ms % 864000000, named.name, new.deployment, new.route,
           new.key_id, new.team, COALESCE(new.cost_basis, 'unknown'), new.outcome,
           new.created_at_ms - new.created_at_ms % 3600000,
           new.saved_nanousd, 1, (new.cache = 'hit'), (new.cache = 'coalesced')
      FROM (SELECT 'user' AS dimension, new.user_id AS name
             UNION ALL SELECT 'workflow', new.workflow
             UNION ALL SELECT 'run', new.run) AS named
     WHERE named.name <> ''
        ON CONFLICT (dimension, period_ms, name, deployment, route, key_id, team, basis, outcome, hour_ms) DO UPDATE
       SET saved_nanousd = saved_nanousd + excluded.saved_nanousd, generations = generations + excluded.generations,
           cache_hits = cache_hits + excluded.cache_hits, coalesced = coalesced + excluded.coalesced;
END;

-- Of which calls the sums by the day of users and workflows together are: of those that came in [since_ms, until_ms), and
-- of attempts by the moment of their hold. Whoever keeps the ledger moves until_ms on, from the first call there ever was
-- (`ledger.operations.pairs`); what is told later of a call that is in it, the triggers below add. since_ms is a full day:
-- where detail before it was folded, no sum could be proved any more.
CREATE TABLE pairs_added_up (
    id INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
    since_ms INTEGER NOT NULL CHECK (since_ms % 86400000 = 0),
    until_ms INTEGER NOT NULL CHECK (until_ms >= since_ms)
) STRICT;

-- These sums: so that a report on one user by workflow, or the other way round, does not count call by call. Calls that
-- named one of them or none are here as well ('' then): a report is made of these sums alone, and of what came since. Not
-- of runs: a run is short, so that a report on it reads few calls. Periods as in spend_hours_by_name. A row of a day before
-- since_ms says nothing.
CREATE TABLE spend_days_by_pair (
    period_ms INTEGER NOT NULL CHECK (period_ms = day_ms - day_ms % 864000000),
    user_id TEXT NOT NULL,
    workflow TEXT NOT NULL,
    deployment TEXT NOT NULL,
    route TEXT NOT NULL,
    key_id TEXT NOT NULL,
    team TEXT NOT NULL,
    basis TEXT NOT NULL,
    outcome TEXT NOT NULL,
    day_ms INTEGER NOT NULL,
    cost_nanousd INTEGER NOT NULL,
    saved_nanousd INTEGER NOT NULL,
    generations INTEGER NOT NULL,
    attempts INTEGER NOT NULL,
    cache_hits INTEGER NOT NULL,
    coalesced INTEGER NOT NULL,
    prompt_tokens INTEGER NOT NULL,
    completion_tokens INTEGER NOT NULL,
    cached_tokens INTEGER NOT NULL,
    reasoning_tokens INTEGER NOT NULL,
    PRIMARY KEY (period_ms, user_id, workflow, deployment, route, key_id, team, basis, outcome, day_ms)
) STRICT, WITHOUT ROWID;

-- What they are made of: every closed attempt, correction and ended call, at its own moment.
CREATE VIEW closed_spend AS
SELECT h.taken_at_ms AS at_ms, h.deployment, g.route, g.key_id, g.team, g.user_id, g.workflow,
       COALESCE((SELECT c.cost_basis FROM postings AS c WHERE c.hold_id = h.hold_id AND c.kind = 'correction'
                  ORDER BY c.seq DESC LIMIT 1), p.cost_basis, 'free') AS basis,
       h.outcome, COALESCE(p.cost_nanousd, 0) AS cost_nanousd, 0 AS saved_nanousd, 0 AS generations, 1 AS attempts,
       0 AS cache_hits, 0 AS coalesced, COALESCE(p.prompt_tokens, 0) AS prompt_tokens,
       COALESCE(p.completion_tokens, 0) AS completion_tokens, COALESCE(p.cache_read_tokens, 0) AS cached_tokens,
       COALESCE(p.reasoning_tokens, 0) AS reasoning_tokens
  FROM holds AS h
  JOIN generations AS g USING (generation_id)
  LEFT JOIN counted_lines AS p ON p.hold_id = h.hold_id AND p.kind <> 'correction'
 WHERE h.state <> 'held'
 UNION ALL
SELECT h.taken_at_ms, h.deployment, g.route, g.key_id, g.team, g.user_id, g.workflow,
       (SELECT c.cost_basis FROM postings AS c WHERE c.hold_id = h.hold_id AND c.kind = 'correction'
         ORDER BY c.seq DESC LIMIT 1),
       h.outcome, p.cost_nanousd, 0, 0, 0, 0, 0, COALESCE(p.prompt_tokens, 0), COALESCE(p.completion_tokens, 0),
       COALESCE(p.cache_read_tokens, 0), COALESCE(p.reasoning_tokens, 0)
  FROM holds AS h
  JOIN generations AS g USING (generation_id)
  JOIN counted_lines AS p ON p.hold_id = h.hold_id AND p.kind = 'correction'
 UNION ALL
SELECT g.created_at_ms, g.deployment, g.route, g.key_id, g.team, g.user_id, g.workflow,
       COALESCE(g.cost_basis, 'unknown'), g.outcome, 0, g.saved_nanousd, 1, 0, g.cache = 'hit', g.cache = 'coalesced',
       0, 0, 0, 0
  FROM generations AS g
 WHERE g.outcome IS NOT NULL;

-- What is inserted there is added to its day. NULL: 0.
CREATE TRIGGER what_is_told_late_is_added_up_by_pair
INSTEAD OF INSERT ON closed_spend
BEGIN
    INSERT INTO spend_days_by_pair (period_ms, user_id, workflow, deployment, route, key_id, team, basis, outcome,
                                    day_ms, cost_nanousd, saved_nanousd, generations, attempts, cache_hits, coalesced,
                                    prompt_tokens, completion_tokens, cached_tokens, reasoning_tokens)
    VALUES (new.at_ms - new.at_ms % 864000000, new.user_id, new.workflow, new.deployment, new.route, new.key_id, new.team,
            new.basis, new.outcome, new.at_ms - new.at_ms % 86400000, COALESCE(new.cost_nanousd, 0),
            COALESCE(new.saved_nanousd, 0), COALESCE(new.generations, 0), COALESCE(new.attempts, 0),
            COALESCE(new.cache_hits, 0), COALESCE(new.coalesced, 0), COALESCE(new.prompt_tokens, 0),
            COALESCE(new.completion_tokens, 0), COALESCE(new.cached_tokens, 0), COALESCE(new.reasoning_tokens, 0))
        ON CONFLICT (period_ms, user_id, workflow, deployment, route, key_id, team, basis, outcome, day_ms) DO UPDATE
       SET cost_nanousd = cost_nanousd + excluded.cost_nanousd, saved_nanousd = saved_nanousd + excluded.saved_nanousd,
           generations = generations + excluded.generations, attempts = attempts + excluded.attempts,
           cache_hits = cache_hits + excluded.cache_hits, coalesced = coalesced + excluded.coalesced,
           prompt_tokens = prompt_tokens + excluded.prompt_tokens,
           completion_tokens = completion_tokens + excluded.completion_tokens,
           cached_tokens = cached_tokens + excluded.cached_tokens,
           reasoning_tokens = reasoning_tokens + excluded.reasoning_tokens;
END;

-- A day of which some detail goes is told from what is left of it.
CREATE TRIGGER what_a_closing_stands_for_is_no_longer_added_up_by_pair
AFTER INSERT ON closings
BEGIN
    UPDATE pairs_added_up
       SET since_ms = MAX(since_ms, (new.before_ms + 86399999) / 86400000 * 86400000),
           until_ms = MAX(until_ms, (new.before_ms + 86399999) / 86400000 * 86400000);
END;

INSERT INTO pairs_added_up (id, since_ms, until_ms) VALUES (1, 0, 0);

-- What each scope came to in attempts that were folded, in each month of UTC that they were begun in, and in all that a
-- ceiling may count: a ceiling that comes into force later starts with it (`ledger.operations.folded`). Scopes as in
-- `ceilings`. Month 0: in no month that is known.
CREATE TABLE folded_months (
    scope TEXT NOT NULL,
    month_ms INTEGER NOT NULL,
    nanousd INTEGER NOT NULL,
    tokens INTEGER NOT NULL,
    calls INTEGER NOT NULL,
    attempts INTEGER NOT NULL,
    PRIMARY KEY (scope, month_ms)
) STRICT, WITHOUT ROWID;
