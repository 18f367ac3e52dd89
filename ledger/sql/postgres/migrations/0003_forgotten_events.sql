-- Events that are over and old may be forgotten. What the table is for is said in sql/sqlite/schema.sql.

CREATE TABLE events_forgotten (
    id bigint NOT NULL PRIMARY KEY CHECK (id = 1),
    before_ms bigint NOT NULL
);

INSERT INTO events_forgotten (id, before_ms) VALUES (1, 0);

CREATE INDEX events_by_time ON events (at_ms);
CREATE INDEX deliveries_by_digest ON deliveries (digest_seq) WHERE digest_seq IS NOT NULL;

CREATE FUNCTION keep_events() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF old.at_ms >= (SELECT before_ms FROM events_forgotten)
       OR old.seq = (SELECT MAX(seq) FROM events)
       OR EXISTS (SELECT 1 FROM deliveries WHERE event_seq = old.seq AND state = 'pending')
    THEN
        RAISE EXCEPTION 'an event never vanishes: it would be told again' USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN old;
END $$;

DROP TRIGGER an_event_never_vanishes ON events;
CREATE TRIGGER an_event_never_vanishes
BEFORE DELETE ON events FOR EACH ROW EXECUTE FUNCTION keep_events();

CREATE FUNCTION keep_deliveries() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF old.state = 'pending'
       OR (SELECT at_ms FROM events WHERE seq = old.event_seq) >= (SELECT before_ms FROM events_forgotten)
    THEN
        RAISE EXCEPTION 'a delivery never vanishes' USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN old;
END $$;

DROP TRIGGER a_delivery_never_vanishes ON deliveries;
CREATE TRIGGER a_delivery_never_vanishes
BEFORE DELETE ON deliveries FOR EACH ROW EXECUTE FUNCTION keep_deliveries();
