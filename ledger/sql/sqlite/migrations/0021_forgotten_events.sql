-- Events that are over and old may be forgotten.

-- Before which moment events may be forgotten.
CREATE TABLE events_forgotten (
    id INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
    before_ms INTEGER NOT NULL
) STRICT;

INSERT INTO events_forgotten (id, before_ms) VALUES (1, 0);

CREATE INDEX events_by_time ON events (at_ms);
CREATE INDEX deliveries_by_digest ON deliveries (digest_seq) WHERE digest_seq IS NOT NULL;

DROP TRIGGER an_event_never_vanishes;
DROP TRIGGER a_delivery_never_vanishes;

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
