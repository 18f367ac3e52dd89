-- Metrics count events of a type, and people ask for them.
CREATE INDEX events_by_type ON events (type, seq);
