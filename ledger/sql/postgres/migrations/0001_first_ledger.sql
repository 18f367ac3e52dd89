-- The whole schema on PostgreSQL, as `sql/sqlite/schema.sql` is on SQLite: what its tables and columns mean, and what each
-- rule is for, is told there; a test proves that tables, columns and rules are the same. Here is only what is of this engine:
-- text compares by bytes (COLLATE "C"), because holds are found by ranges of their ids, whatever the database's language.

-- Which schema this is, so that a database of something else is never taken for a ledger. Whoever writes to the ledger
-- holds this row while it does: writers of all processes take turns at it, and nothing they decide can change under them.
CREATE TABLE ledger_turn (
    id bigint NOT NULL PRIMARY KEY CHECK (id = 1),
    version bigint NOT NULL
);

INSERT INTO ledger_turn (id, version) VALUES (1, 0);

CREATE TABLE owners (
    owner_id text COLLATE "C" NOT NULL PRIMARY KEY,
    process text COLLATE "C" NOT NULL,
    started_at_ms bigint NOT NULL,
    lease_until_ms bigint NOT NULL,
    queue_depth bigint NOT NULL DEFAULT 0
);

CREATE TABLE generations (
    generation_id text COLLATE "C" NOT NULL PRIMARY KEY,
    created_at_ms bigint NOT NULL,
    route text COLLATE "C" NOT NULL,
    stream bigint NOT NULL CHECK (stream IN (0, 1)),
    trace_id text COLLATE "C" NOT NULL,
    key_id text COLLATE "C" NOT NULL,
    team text COLLATE "C" NOT NULL,
    user_id text COLLATE "C" NOT NULL,
    workflow text COLLATE "C" NOT NULL,
    run text COLLATE "C" NOT NULL,
    tags text COLLATE "C" NOT NULL,
    cache text COLLATE "C" NOT NULL CHECK (cache IN ('hit', 'miss', 'coalesced', 'bypass')),
    served_by text COLLATE "C",
    deployment text COLLATE "C" NOT NULL,
    outcome text COLLATE "C",
    cost_basis text COLLATE "C",
    saved_nanousd bigint NOT NULL DEFAULT 0 CHECK (saved_nanousd >= 0),
    estimated_prompt_tokens bigint,
    finished_at_ms bigint,
    latency_us bigint,
    ttft_us bigint,
    error_code text COLLATE "C",
    CHECK ((outcome IS NULL) = (finished_at_ms IS NULL))
);

CREATE INDEX generations_by_time ON generations (created_at_ms);

CREATE TABLE ceilings (
    ceiling_id text COLLATE "C" NOT NULL PRIMARY KEY,
    scope text COLLATE "C" NOT NULL,
    "window" text COLLATE "C" NOT NULL CHECK ("window" IN ('minute', 'hour', 'day', 'month', 'total')),
    counts text COLLATE "C" NOT NULL CHECK (counts IN ('nanousd', 'tokens', 'calls', 'attempts')),
    limit_amount bigint NOT NULL CHECK (limit_amount >= 0),
    active bigint NOT NULL CHECK (active IN (0, 1)),
    since_ms bigint NOT NULL,
    when_tight text COLLATE "C" NOT NULL CHECK (when_tight IN ('refuse', 'wait', 'clamp')),
    of_template bigint NOT NULL CHECK (of_template IN (0, 1)),
    downgrade_at double precision CHECK (downgrade_at > 0 AND downgrade_at <= 1),
    warn_at text COLLATE "C" NOT NULL DEFAULT '[]',
    UNIQUE (scope, "window", counts),
    UNIQUE (ceiling_id, counts)
);

CREATE TABLE ceilings_epoch (
    id bigint NOT NULL PRIMARY KEY CHECK (id = 1),
    epoch bigint NOT NULL
);

INSERT INTO ceilings_epoch (id, epoch) VALUES (1, 0);

CREATE TABLE ceiling_windows (
    ceiling_id text COLLATE "C" NOT NULL,
    starts_at_ms bigint NOT NULL,
    ends_at_ms bigint,
    counts text COLLATE "C" NOT NULL,
    limit_amount bigint NOT NULL CHECK (limit_amount >= 0),
    excused_amount bigint NOT NULL CHECK (excused_amount >= limit_amount),
    held_amount bigint NOT NULL CHECK (held_amount >= 0),
    spent_amount bigint NOT NULL CHECK (spent_amount >= 0),
    folded_amount bigint NOT NULL DEFAULT 0,
    warn_amount bigint CHECK (warn_amount > 0),
    PRIMARY KEY (ceiling_id, starts_at_ms),
    FOREIGN KEY (ceiling_id, counts) REFERENCES ceilings (ceiling_id, counts)
);

CREATE TABLE holds (
    hold_id text COLLATE "C" NOT NULL PRIMARY KEY,
    generation_id text COLLATE "C" NOT NULL REFERENCES generations (generation_id),
    attempt bigint NOT NULL CHECK (attempt >= 1),
    owner_id text COLLATE "C" NOT NULL,
    deployment text COLLATE "C" NOT NULL,
    price_version text COLLATE "C" NOT NULL,
    held_nanousd bigint NOT NULL CHECK (held_nanousd >= 0),
    state text COLLATE "C" NOT NULL CHECK (state IN ('held', 'settled', 'released', 'lapsed')),
    taken_at_ms bigint NOT NULL,
    closed_at_ms bigint,
    outcome text COLLATE "C",
    status bigint,
    latency_us bigint,
    ttft_us bigint,
    error text COLLATE "C",
    held_tokens bigint NOT NULL DEFAULT 0 CHECK (held_tokens >= 0),
    queued_us bigint,
    hedge bigint NOT NULL DEFAULT 0 CHECK (hedge IN (0, 1)),
    CHECK ((state = 'held') = (closed_at_ms IS NULL)),
    CHECK ((state = 'held') = (outcome IS NULL))
);

CREATE INDEX open_holds ON holds (owner_id) WHERE state = 'held';
CREATE INDEX holds_by_time ON holds (taken_at_ms);

CREATE TABLE hold_windows (
    hold_id text COLLATE "C" NOT NULL REFERENCES holds (hold_id),
    ceiling_id text COLLATE "C" NOT NULL,
    starts_at_ms bigint NOT NULL,
    PRIMARY KEY (hold_id, ceiling_id, starts_at_ms),
    FOREIGN KEY (ceiling_id, starts_at_ms) REFERENCES ceiling_windows (ceiling_id, starts_at_ms)
);

CREATE TABLE postings (
    seq bigint PRIMARY KEY,
    hold_id text COLLATE "C" NOT NULL REFERENCES holds (hold_id),
    kind text COLLATE "C" NOT NULL CHECK (kind IN ('settlement', 'lapse', 'correction')),
    cost_nanousd bigint NOT NULL CHECK (kind = 'correction' OR cost_nanousd >= 0),
    cost_basis text COLLATE "C" NOT NULL
        CHECK (cost_basis IN ('provider_reported', 'priced_usage', 'estimated', 'unknown', 'free')),
    overrun_nanousd bigint NOT NULL CHECK (overrun_nanousd >= 0),
    input_tokens bigint,
    cached_tokens bigint,
    cache_write_tokens bigint,
    output_tokens bigint,
    reasoning_tokens bigint,
    price_version text COLLATE "C" NOT NULL,
    posted_at_ms bigint NOT NULL,
    reason text COLLATE "C",
    chain bytea NOT NULL CHECK (length(chain) = 32),
    cache_write_1h_tokens bigint,
    input_audio_tokens bigint,
    cached_audio_tokens bigint,
    input_image_tokens bigint,
    output_audio_tokens bigint,
    output_image_tokens bigint,
    tokens bigint NOT NULL DEFAULT 0 CHECK (kind = 'correction' OR tokens >= 0)
);

CREATE UNIQUE INDEX a_hold_has_one_closing_posting ON postings (hold_id) WHERE kind <> 'correction';
-- A row that others refer to is found by them before it may go; a partial index is of no use for that.
CREATE INDEX lines_by_hold ON postings (hold_id);
CREATE INDEX holds_by_generation ON holds (generation_id);

CREATE TABLE responses (
    cache_key bytea NOT NULL PRIMARY KEY CHECK (length(cache_key) = 32),
    generation_id text COLLATE "C" NOT NULL,
    deployment text COLLATE "C" NOT NULL,
    cost_nanousd bigint NOT NULL CHECK (cost_nanousd >= 0),
    cost_basis text COLLATE "C" NOT NULL,
    stored_at_ms bigint NOT NULL,
    expires_at_ms bigint NOT NULL,
    body bytea NOT NULL
);

CREATE INDEX responses_by_expiry ON responses (expires_at_ms);

CREATE TABLE response_totals (
    id bigint NOT NULL PRIMARY KEY CHECK (id = 1),
    entries bigint NOT NULL CHECK (entries >= 0),
    bytes bigint NOT NULL CHECK (bytes >= 0)
);

INSERT INTO response_totals (id, entries, bytes) VALUES (1, 0, 0);

CREATE TABLE flights (
    cache_key bytea NOT NULL PRIMARY KEY CHECK (length(cache_key) = 32),
    generation_id text COLLATE "C" NOT NULL,
    owner_id text COLLATE "C" NOT NULL,
    epoch bigint NOT NULL CHECK (epoch >= 1)
);

CREATE TABLE latency_buckets (
    deployment text COLLATE "C" NOT NULL,
    kind text COLLATE "C" NOT NULL CHECK (kind IN ('total', 'ttft', 'error')),
    hour_ms bigint NOT NULL,
    bucket bigint NOT NULL,
    count bigint NOT NULL,
    sum_us bigint NOT NULL,
    max_us bigint NOT NULL,
    PRIMARY KEY (hour_ms, deployment, kind, bucket)
);

CREATE TABLE refusals (
    hour_ms bigint NOT NULL,
    route text COLLATE "C" NOT NULL,
    code text COLLATE "C" NOT NULL,
    count bigint NOT NULL,
    PRIMARY KEY (hour_ms, route, code)
);

CREATE TABLE prices (
    deployment text COLLATE "C" NOT NULL,
    price_version text COLLATE "C" NOT NULL,
    price text COLLATE "C" NOT NULL,
    PRIMARY KEY (deployment, price_version)
);

CREATE TABLE idempotency (
    caller text COLLATE "C" NOT NULL,
    idempotency_key text COLLATE "C" NOT NULL CHECK (length(idempotency_key) BETWEEN 1 AND 255),
    fingerprint bytea NOT NULL CHECK (length(fingerprint) = 32),
    state text COLLATE "C" NOT NULL CHECK (state IN ('in_progress', 'done')),
    generation_id text COLLATE "C" NOT NULL,
    owner_id text COLLATE "C" NOT NULL,
    trace_id text COLLATE "C" NOT NULL,
    created_at_ms bigint NOT NULL,
    taken_at_ms bigint NOT NULL,
    expires_at_ms bigint NOT NULL CHECK (expires_at_ms > taken_at_ms),
    hit bytea,
    result bytea,
    PRIMARY KEY (caller, idempotency_key),
    CHECK (hit IS NULL OR result IS NULL),
    CHECK (state = 'done' OR (hit IS NULL AND result IS NULL))
);

CREATE INDEX idempotency_by_expiry ON idempotency (expires_at_ms);

CREATE TABLE spend_hours (
    hour_ms bigint NOT NULL,
    deployment text COLLATE "C" NOT NULL,
    route text COLLATE "C" NOT NULL,
    key_id text COLLATE "C" NOT NULL,
    team text COLLATE "C" NOT NULL,
    basis text COLLATE "C" NOT NULL,
    outcome text COLLATE "C" NOT NULL,
    cost_nanousd bigint NOT NULL DEFAULT 0,
    saved_nanousd bigint NOT NULL DEFAULT 0,
    generations bigint NOT NULL DEFAULT 0,
    attempts bigint NOT NULL DEFAULT 0,
    cache_hits bigint NOT NULL DEFAULT 0,
    coalesced bigint NOT NULL DEFAULT 0,
    prompt_tokens bigint NOT NULL DEFAULT 0,
    completion_tokens bigint NOT NULL DEFAULT 0,
    cached_tokens bigint NOT NULL DEFAULT 0,
    reasoning_tokens bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (hour_ms, deployment, route, key_id, team, basis, outcome)
);

CREATE INDEX open_generations ON generations (created_at_ms) WHERE outcome IS NULL;

CREATE TABLE latency_days (
    day_ms bigint NOT NULL,
    deployment text COLLATE "C" NOT NULL,
    kind text COLLATE "C" NOT NULL,
    bucket bigint NOT NULL,
    count bigint NOT NULL,
    sum_us bigint NOT NULL,
    max_us bigint NOT NULL,
    PRIMARY KEY (day_ms, deployment, kind, bucket)
);

CREATE TABLE closings (
    through_seq bigint NOT NULL PRIMARY KEY CHECK (through_seq >= 1),
    chain bytea NOT NULL CHECK (length(chain) = 32),
    postings bigint NOT NULL CHECK (postings = through_seq),
    cost_nanousd bigint NOT NULL,
    before_ms bigint NOT NULL,
    closed_at_ms bigint NOT NULL
);

CREATE TABLE audit (
    id bigint NOT NULL PRIMARY KEY CHECK (id = 1),
    seq bigint NOT NULL,
    chain bytea NOT NULL CHECK (length(chain) = 32),
    looked_at_ms bigint,
    took_us bigint NOT NULL,
    next_look_at_ms bigint NOT NULL
);

INSERT INTO audit (id, seq, chain, took_us, next_look_at_ms) VALUES (1, 0, decode(repeat('00', 32), 'hex'), 0, 0);

CREATE TABLE memory (
    subject text COLLATE "C" NOT NULL PRIMARY KEY,
    version bigint NOT NULL UNIQUE,
    remembered text COLLATE "C" NOT NULL
);

CREATE TABLE failed_flights (
    failure_id bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,
    generation_id text COLLATE "C" NOT NULL UNIQUE,
    failure bytea NOT NULL,
    until_ms bigint NOT NULL
);

CREATE TABLE followed_sums (
    ceiling_id text COLLATE "C" NOT NULL,
    starts_at_ms bigint NOT NULL,
    amount bigint NOT NULL,
    ceilings_epoch bigint NOT NULL,
    seq bigint NOT NULL,
    PRIMARY KEY (ceiling_id, starts_at_ms)
);

CREATE TABLE api_keys (
    key_id text COLLATE "C" NOT NULL PRIMARY KEY CHECK (length(key_id) > 0),
    digest bytea NOT NULL UNIQUE CHECK (length(digest) = 32),
    pepper_id text COLLATE "C" NOT NULL,
    name text COLLATE "C" NOT NULL CHECK (length(name) > 0),
    team text COLLATE "C" NOT NULL,
    role text COLLATE "C" NOT NULL CHECK (role IN ('caller', 'reader', 'admin')),
    created_at_ms bigint NOT NULL,
    expires_at_ms bigint CHECK (expires_at_ms > created_at_ms),
    revoked_at_ms bigint
);

CREATE TABLE api_key_routes (
    key_id text COLLATE "C" NOT NULL REFERENCES api_keys (key_id),
    route text COLLATE "C" NOT NULL,
    PRIMARY KEY (key_id, route)
);

CREATE TABLE api_key_ceilings (
    key_id text COLLATE "C" NOT NULL REFERENCES api_keys (key_id),
    "window" text COLLATE "C" NOT NULL CHECK ("window" IN ('minute', 'hour', 'day', 'month', 'total')),
    counts text COLLATE "C" NOT NULL CHECK (counts IN ('nanousd', 'tokens', 'calls')),
    limit_amount bigint NOT NULL CHECK (limit_amount >= 0),
    PRIMARY KEY (key_id, "window", counts)
);

CREATE TABLE events (
    seq bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,
    id text COLLATE "C" NOT NULL UNIQUE,
    type text COLLATE "C" NOT NULL,
    dedup_key text COLLATE "C" NOT NULL UNIQUE,
    at_ms bigint NOT NULL,
    facts text COLLATE "C" NOT NULL,
    acknowledged_at_ms bigint,
    acknowledged_by text COLLATE "C",
    CHECK ((acknowledged_at_ms IS NULL) = (acknowledged_by IS NULL))
);

CREATE INDEX events_by_type ON events (type, seq);

CREATE TABLE deliveries (
    event_seq bigint NOT NULL REFERENCES events (seq),
    target text COLLATE "C" NOT NULL CHECK (length(target) > 0),
    state text COLLATE "C" NOT NULL CHECK (state IN ('pending', 'delivered', 'dead')),
    tries bigint NOT NULL CHECK (tries >= 0),
    next_at_ms bigint,
    last_at_ms bigint,
    last_status bigint,
    last_error text COLLATE "C",
    digest_seq bigint REFERENCES events (seq),
    PRIMARY KEY (event_seq, target),
    CHECK ((state = 'pending') = (next_at_ms IS NOT NULL))
);

CREATE INDEX pending_deliveries ON deliveries (next_at_ms) WHERE state = 'pending';

CREATE TABLE alert_targets (
    target text COLLATE "C" NOT NULL PRIMARY KEY,
    seen_seq bigint NOT NULL
);

CREATE TABLE duties (
    duty text COLLATE "C" NOT NULL PRIMARY KEY,
    owner_id text COLLATE "C" NOT NULL
);

-- Sums and rules, in the words of PL/pgSQL.

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

CREATE VIEW lines_of_holds AS
SELECT hold_id, seq, kind, cost_nanousd, cost_basis, prompt_tokens, completion_tokens, cache_read_tokens, reasoning_tokens
  FROM counted_lines;

CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION USING MESSAGE = TG_ARGV[0], ERRCODE = 'integrity_constraint_violation';
END $$;

CREATE TRIGGER a_new_hold_fits_under_its_ceiling
BEFORE UPDATE OF held_amount ON ceiling_windows FOR EACH ROW
WHEN (new.held_amount > old.held_amount AND new.held_amount + new.spent_amount > new.limit_amount)
EXECUTE FUNCTION refuse('a new hold does not fit under its ceiling');

CREATE FUNCTION take_under_a_lease() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (SELECT 1 FROM owners WHERE owner_id = new.owner_id AND lease_until_ms >= new.taken_at_ms) THEN
        RAISE EXCEPTION 'a hold is taken under a lease' USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN new;
END $$;

CREATE TRIGGER a_hold_is_taken_under_a_lease
BEFORE INSERT ON holds FOR EACH ROW EXECUTE FUNCTION take_under_a_lease();

CREATE TRIGGER a_hold_is_closed_once
BEFORE UPDATE OF state, held_nanousd, held_tokens, attempt, status, generation_id, deployment, taken_at_ms ON holds
FOR EACH ROW WHEN (old.state <> 'held')
EXECUTE FUNCTION refuse('a hold is closed exactly once');

CREATE TRIGGER how_an_attempt_ended_stays
BEFORE UPDATE OF outcome ON holds FOR EACH ROW
WHEN (old.outcome IS NOT NULL AND new.outcome IS DISTINCT FROM old.outcome)
EXECUTE FUNCTION refuse('how an attempt ended stays');

CREATE FUNCTION follow_the_last_posting() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF new.seq <> (SELECT COALESCE(MAX(seq), 0) + 1 FROM postings) THEN
        RAISE EXCEPTION 'a posting follows the last one' USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN new;
END $$;

CREATE TRIGGER a_posting_follows_the_last_one
BEFORE INSERT ON postings FOR EACH ROW EXECUTE FUNCTION follow_the_last_posting();

CREATE TRIGGER a_posting_never_changes
BEFORE UPDATE ON postings FOR EACH ROW EXECUTE FUNCTION refuse('a posting never changes');

CREATE FUNCTION count_stored_response() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        UPDATE response_totals SET entries = entries + 1, bytes = bytes + length(new.body);
    ELSE
        UPDATE response_totals SET entries = entries - 1, bytes = bytes - length(old.body);
    END IF;
    RETURN NULL;
END $$;

CREATE TRIGGER a_stored_response_is_counted
AFTER INSERT ON responses FOR EACH ROW EXECUTE FUNCTION count_stored_response();

CREATE TRIGGER a_dropped_response_is_counted
AFTER DELETE ON responses FOR EACH ROW EXECUTE FUNCTION count_stored_response();

CREATE FUNCTION keep_one_call_at_a_time() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT 1 FROM owners WHERE owner_id = old.owner_id AND lease_until_ms >= new.taken_at_ms) THEN
        RAISE EXCEPTION 'a key has one call at a time' USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN new;
END $$;

CREATE TRIGGER a_key_has_one_call_at_a_time
BEFORE UPDATE OF generation_id ON idempotency FOR EACH ROW
WHEN (old.state = 'in_progress' AND new.generation_id <> old.generation_id)
EXECUTE FUNCTION keep_one_call_at_a_time();

CREATE TRIGGER a_kept_result_stays_until_it_expires
BEFORE UPDATE ON idempotency FOR EACH ROW
WHEN (old.state = 'done' AND new.taken_at_ms < old.expires_at_ms
      AND NOT (old.result IS NULL AND new.generation_id = old.generation_id))
EXECUTE FUNCTION refuse('a kept result stays until it expires');

-- Adds one row's worth to `spend_hours`: what every sum below comes to in the end.
CREATE FUNCTION add_to_hour(added spend_hours) RETURNS void LANGUAGE sql AS $$
    INSERT INTO spend_hours AS kept VALUES (added.*)
        ON CONFLICT (hour_ms, deployment, route, key_id, team, basis, outcome) DO UPDATE
       SET cost_nanousd = kept.cost_nanousd + excluded.cost_nanousd,
           saved_nanousd = kept.saved_nanousd + excluded.saved_nanousd,
           generations = kept.generations + excluded.generations,
           attempts = kept.attempts + excluded.attempts,
           cache_hits = kept.cache_hits + excluded.cache_hits,
           coalesced = kept.coalesced + excluded.coalesced,
           prompt_tokens = kept.prompt_tokens + excluded.prompt_tokens,
           completion_tokens = kept.completion_tokens + excluded.completion_tokens,
           cached_tokens = kept.cached_tokens + excluded.cached_tokens,
           reasoning_tokens = kept.reasoning_tokens + excluded.reasoning_tokens
$$;

CREATE FUNCTION add_up_a_hold_without_charge() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM add_to_hour(ROW(new.taken_at_ms - new.taken_at_ms % 3600000, new.deployment, g.route, g.key_id, g.team, 'free',
                            new.outcome, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0)::spend_hours)
       FROM generations AS g
      WHERE g.generation_id = new.generation_id;
    RETURN NULL;
END $$;

CREATE TRIGGER a_hold_without_charge_is_added_up
AFTER UPDATE OF state ON holds FOR EACH ROW WHEN (new.state = 'released')
EXECUTE FUNCTION add_up_a_hold_without_charge();

CREATE FUNCTION add_up_a_line() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM add_to_hour(ROW(h.taken_at_ms - h.taken_at_ms % 3600000, h.deployment, g.route, g.key_id, g.team,
                            new.cost_basis, h.outcome,
                            new.cost_nanousd, 0, 0, CASE new.kind WHEN 'correction' THEN 0 ELSE 1 END, 0, 0,
                            COALESCE(p.prompt_tokens, 0), COALESCE(p.completion_tokens, 0),
                            COALESCE(p.cache_read_tokens, 0), COALESCE(p.reasoning_tokens, 0))::spend_hours)
       FROM counted_lines AS p
       JOIN holds AS h USING (hold_id)
       JOIN generations AS g USING (generation_id)
      WHERE p.seq = new.seq;
    RETURN NULL;
END $$;

CREATE TRIGGER a_line_is_added_up
AFTER INSERT ON postings FOR EACH ROW EXECUTE FUNCTION add_up_a_line();

-- What an attempt cost before is as sure as its newest line is.
CREATE FUNCTION move_what_a_line_corrects() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM add_to_hour(ROW(h.taken_at_ms - h.taken_at_ms % 3600000, h.deployment, g.route, g.key_id, g.team, side.basis,
                            h.outcome,
                            side.sign * before.cost_nanousd, 0, 0, side.sign, 0, 0, side.sign * before.prompt_tokens,
                            side.sign * before.completion_tokens, side.sign * before.cached_tokens,
                            side.sign * before.reasoning_tokens)::spend_hours)
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
      WHERE h.hold_id = new.hold_id;
    RETURN NULL;
END $$;

CREATE TRIGGER a_correction_moves_what_it_corrects
AFTER INSERT ON postings FOR EACH ROW WHEN (new.kind = 'correction')
EXECUTE FUNCTION move_what_a_line_corrects();

-- One generation in its hour, `sign` times.
CREATE FUNCTION add_generation_to_hour(g generations, sign bigint) RETURNS void LANGUAGE sql AS $$
    SELECT add_to_hour(ROW(g.created_at_ms - g.created_at_ms % 3600000, g.deployment, g.route, g.key_id, g.team,
                           COALESCE(g.cost_basis, 'unknown'), g.outcome,
                           0, sign * g.saved_nanousd, sign, 0, sign * CAST(g.cache = 'hit' AS integer),
                           sign * CAST(g.cache = 'coalesced' AS integer), 0, 0, 0, 0)::spend_hours)
$$;

CREATE FUNCTION add_up_a_generation() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM add_generation_to_hour(new, 1);
    RETURN NULL;
END $$;

CREATE TRIGGER a_finished_generation_is_added_up
AFTER INSERT ON generations FOR EACH ROW WHEN (new.outcome IS NOT NULL)
EXECUTE FUNCTION add_up_a_generation();

CREATE TRIGGER an_ended_generation_is_added_up
AFTER UPDATE OF outcome ON generations FOR EACH ROW WHEN (new.outcome IS NOT NULL)
EXECUTE FUNCTION add_up_a_generation();

-- A lost generation whose process was only late is told again.
CREATE FUNCTION move_a_generation_told_again() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM add_generation_to_hour(old, -1);
    RETURN NULL;
END $$;

CREATE TRIGGER a_generation_told_again_is_moved
AFTER UPDATE OF outcome ON generations FOR EACH ROW WHEN (old.outcome IS NOT NULL)
EXECUTE FUNCTION move_a_generation_told_again();

CREATE FUNCTION add_up_a_latency() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO latency_days AS kept (day_ms, deployment, kind, bucket, count, sum_us, max_us)
        VALUES (new.hour_ms - new.hour_ms % 86400000, new.deployment, new.kind, new.bucket, new.count, new.sum_us,
                new.max_us)
            ON CONFLICT (day_ms, deployment, kind, bucket) DO UPDATE
           SET count = kept.count + excluded.count, sum_us = kept.sum_us + excluded.sum_us,
               max_us = GREATEST(kept.max_us, excluded.max_us);
    ELSE
        UPDATE latency_days
           SET count = count + new.count - old.count, sum_us = sum_us + new.sum_us - old.sum_us,
               max_us = GREATEST(max_us, new.max_us)
         WHERE day_ms = new.hour_ms - new.hour_ms % 86400000 AND deployment = new.deployment AND kind = new.kind
           AND bucket = new.bucket;
    END IF;
    RETURN NULL;
END $$;

CREATE TRIGGER a_first_latency_of_an_hour_is_added_up
AFTER INSERT ON latency_buckets FOR EACH ROW EXECUTE FUNCTION add_up_a_latency();

CREATE TRIGGER a_latency_is_added_up
AFTER UPDATE OF count ON latency_buckets FOR EACH ROW EXECUTE FUNCTION add_up_a_latency();

CREATE FUNCTION close_what_lines_come_to() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF new.chain IS DISTINCT FROM (SELECT chain FROM postings WHERE seq = new.through_seq)
       OR NOT EXISTS (SELECT 1 FROM postings WHERE seq > new.through_seq)
       OR new.postings <> (SELECT COALESCE(MAX(postings), 0) FROM closings)
                          + (SELECT COUNT(*) FROM postings WHERE seq <= new.through_seq)
       OR new.cost_nanousd <> COALESCE((SELECT cost_nanousd FROM closings ORDER BY through_seq DESC LIMIT 1), 0)
                              + (SELECT SUM(cost_nanousd) FROM postings WHERE seq <= new.through_seq)
    THEN
        RAISE EXCEPTION 'a closing is what its lines come to' USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN new;
END $$;

CREATE TRIGGER a_closing_is_what_its_lines_come_to
BEFORE INSERT ON closings FOR EACH ROW EXECUTE FUNCTION close_what_lines_come_to();

CREATE TRIGGER a_closing_never_changes
BEFORE UPDATE ON closings FOR EACH ROW EXECUTE FUNCTION refuse('a closing never changes');

CREATE TRIGGER a_closing_never_vanishes
BEFORE DELETE ON closings FOR EACH ROW EXECUTE FUNCTION refuse('a closing never vanishes');

-- The only lines that may go are those that a closing stands for.
CREATE FUNCTION keep_postings() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (SELECT 1 FROM closings WHERE through_seq >= old.seq) THEN
        RAISE EXCEPTION 'a posting never vanishes' USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN old;
END $$;

CREATE TRIGGER a_posting_never_vanishes
BEFORE DELETE ON postings FOR EACH ROW EXECUTE FUNCTION keep_postings();

-- The only holds that may go were closed before a moment that was folded, and have no line left.
CREATE FUNCTION keep_holds() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF old.state = 'held'
       OR NOT EXISTS (SELECT 1 FROM closings WHERE before_ms > old.closed_at_ms)
       OR EXISTS (SELECT 1 FROM postings WHERE hold_id = old.hold_id)
    THEN
        RAISE EXCEPTION 'a hold never vanishes' USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN old;
END $$;

CREATE TRIGGER a_hold_never_vanishes
BEFORE DELETE ON holds FOR EACH ROW EXECUTE FUNCTION keep_holds();

CREATE TRIGGER a_key_is_only_ever_revoked
BEFORE UPDATE ON api_keys FOR EACH ROW
WHEN (old.revoked_at_ms IS NOT NULL OR new.revoked_at_ms IS NULL
      OR (new.key_id, new.digest, new.pepper_id, new.name, new.team, new.role, new.created_at_ms)
         <> (old.key_id, old.digest, old.pepper_id, old.name, old.team, old.role, old.created_at_ms)
      OR new.expires_at_ms IS DISTINCT FROM old.expires_at_ms)
EXECUTE FUNCTION refuse('a key changes in nothing but that it is revoked, once');

CREATE TRIGGER a_key_never_vanishes
BEFORE DELETE ON api_keys FOR EACH ROW
EXECUTE FUNCTION refuse('a key never vanishes: what was spent with it names it');

CREATE TRIGGER an_event_is_only_ever_acknowledged
BEFORE UPDATE ON events FOR EACH ROW
WHEN (old.acknowledged_at_ms IS NOT NULL OR new.acknowledged_at_ms IS NULL
      OR (new.seq, new.id, new.type, new.dedup_key, new.at_ms, new.facts)
         <> (old.seq, old.id, old.type, old.dedup_key, old.at_ms, old.facts))
EXECUTE FUNCTION refuse('an event changes in nothing but that it is acknowledged, once');

CREATE TRIGGER an_event_never_vanishes
BEFORE DELETE ON events FOR EACH ROW EXECUTE FUNCTION refuse('an event never vanishes: it would be told again');

CREATE TRIGGER a_delivery_begins_pending
BEFORE INSERT ON deliveries FOR EACH ROW WHEN (new.state <> 'pending')
EXECUTE FUNCTION refuse('a delivery begins pending');

CREATE TRIGGER a_delivery_ends_once
BEFORE UPDATE ON deliveries FOR EACH ROW
WHEN ((new.event_seq, new.target) <> (old.event_seq, old.target)
      OR NOT (old.state = 'pending' OR (old.state = 'dead' AND new.state = 'pending')))
EXECUTE FUNCTION refuse('a delivery ends once, and only a dead one is begun again');

CREATE TRIGGER a_delivery_never_vanishes
BEFORE DELETE ON deliveries FOR EACH ROW EXECUTE FUNCTION refuse('a delivery never vanishes');

-- Emptying a table at once asks no row: these are never emptied.
CREATE TRIGGER postings_never_vanish BEFORE TRUNCATE ON postings EXECUTE FUNCTION refuse('a posting never vanishes');
CREATE TRIGGER holds_never_vanish BEFORE TRUNCATE ON holds EXECUTE FUNCTION refuse('a hold never vanishes');
CREATE TRIGGER closings_never_vanish BEFORE TRUNCATE ON closings EXECUTE FUNCTION refuse('a closing never vanishes');
CREATE TRIGGER keys_never_vanish BEFORE TRUNCATE ON api_keys EXECUTE FUNCTION refuse('a key never vanishes');
CREATE TRIGGER events_never_vanish BEFORE TRUNCATE ON events EXECUTE FUNCTION refuse('an event never vanishes');
CREATE TRIGGER deliveries_never_vanish BEFORE TRUNCATE ON deliveries EXECUTE FUNCTION refuse('a delivery never vanishes');
