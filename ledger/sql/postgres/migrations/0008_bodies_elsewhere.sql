-- A stored answer's body may be kept on a cache server. What the columns are for is said in sql/sqlite/schema.sql.
-- beside: 5
-- Older code takes a body that is elsewhere for one that it cannot read, which is a miss.

ALTER TABLE responses ADD COLUMN checksum bytea CHECK (length(checksum) = 32);
ALTER TABLE responses ADD COLUMN elsewhere_bytes bigint NOT NULL DEFAULT 0 CHECK (elsewhere_bytes >= 0);

CREATE OR REPLACE FUNCTION count_stored_response() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        UPDATE response_totals SET entries = entries + 1, bytes = bytes + length(new.body) + new.elsewhere_bytes;
    ELSE
        UPDATE response_totals SET entries = entries - 1, bytes = bytes - length(old.body) - old.elsewhere_bytes;
    END IF;
    RETURN NULL;
END $$;
