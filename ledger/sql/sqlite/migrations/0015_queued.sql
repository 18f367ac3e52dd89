-- How an attempt stood beside the others of its call. queued_us: for how long it waited for a place at its provider; NULL:
-- nobody knows. hedge: 1 for one that was started beside another.
ALTER TABLE holds ADD COLUMN queued_us INTEGER;
ALTER TABLE holds ADD COLUMN hedge INTEGER NOT NULL DEFAULT 0 CHECK (hedge IN (0, 1));
