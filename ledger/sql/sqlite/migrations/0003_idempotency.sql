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
