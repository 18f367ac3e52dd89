-- A stored answer's body may be kept on a cache server. checksum: SHA-256 of its cache key and that body, by which it is
-- found there and proved; NULL: it is here. elsewhere_bytes: how long it is there; here it is empty then.
ALTER TABLE responses ADD COLUMN checksum BLOB CHECK (length(checksum) = 32);
ALTER TABLE responses ADD COLUMN elsewhere_bytes INTEGER NOT NULL DEFAULT 0 CHECK (elsewhere_bytes >= 0);

DROP TRIGGER a_stored_response_is_counted;
DROP TRIGGER a_dropped_response_is_counted;

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
