-- Events become an outbox: each is delivered to the targets that asked for its type, and may be acknowledged.

ALTER TABLE events RENAME TO told;

-- What happened that people want to be told of, once for each dedup_key: written by the transaction that made it so, and
-- kept for good, for what was told once is not to be told again. facts: JSON.
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

INSERT INTO events (seq, id, type, dedup_key, at_ms, facts)
SELECT event_id, 'evt_' || lower(hex(randomblob(12))), type, type || ' ' || subject, at_ms,
       CASE type WHEN 'posting.overrun' THEN json_insert(facts, '$.hold_id', subject) ELSE facts END
  FROM told;

DROP TABLE told;

CREATE TRIGGER an_event_is_only_ever_acknowledged
BEFORE UPDATE ON events
WHEN old.acknowledged_at_ms IS NOT NULL OR new.acknowledged_at_ms IS NULL
     OR (new.seq, new.id, new.type, new.dedup_key, new.at_ms, new.facts)
        <> (old.seq, old.id, old.type, old.dedup_key, old.at_ms, old.facts)
BEGIN
    SELECT RAISE(ABORT, 'an event changes in nothing but that it is acknowledged, once');
END;

CREATE TRIGGER an_event_never_vanishes
BEFORE DELETE ON events
BEGIN
    SELECT RAISE(ABORT, 'an event never vanishes: it would be told again');
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

CREATE TRIGGER a_delivery_never_vanishes
BEFORE DELETE ON deliveries
BEGIN
    SELECT RAISE(ABORT, 'a delivery never vanishes');
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
