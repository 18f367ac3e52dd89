-- Old detail folded into closing balances, and events.

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
DROP TRIGGER a_posting_never_vanishes;
CREATE TRIGGER a_posting_never_vanishes
BEFORE DELETE ON postings
WHEN NOT EXISTS (SELECT 1 FROM closings WHERE through_seq >= old.seq)
BEGIN
    SELECT RAISE(ABORT, 'a posting never vanishes');
END;

-- The only holds that may go were closed before a moment that was folded, and have no line left.
DROP TRIGGER a_hold_never_vanishes;
CREATE TRIGGER a_hold_never_vanishes
BEFORE DELETE ON holds
WHEN old.state = 'held'
  OR NOT EXISTS (SELECT 1 FROM closings WHERE before_ms > old.closed_at_ms)
  OR EXISTS (SELECT 1 FROM postings WHERE hold_id = old.hold_id AND kind <> 'correction')
  OR EXISTS (SELECT 1 FROM postings WHERE hold_id = old.hold_id AND kind = 'correction')
BEGIN
    SELECT RAISE(ABORT, 'a hold never vanishes');
END;

-- The part of a window's `spent` whose lines were folded.
ALTER TABLE ceiling_windows ADD COLUMN folded_nanousd INTEGER NOT NULL DEFAULT 0;

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

-- What happened that people want to be told of, once for each subject. facts: JSON.
CREATE TABLE events (
    event_id INTEGER NOT NULL PRIMARY KEY,
    type TEXT NOT NULL,
    subject TEXT NOT NULL,
    at_ms INTEGER NOT NULL,
    facts TEXT NOT NULL,
    UNIQUE (type, subject)
) STRICT;

-- How many writes waited in each process when it last said so.
ALTER TABLE owners ADD COLUMN queue_depth INTEGER NOT NULL DEFAULT 0;
