-- Replicas of two versions of farthing run side by side while they are replaced one by one. An epoch is a version of this
-- schema, and code is of the epoch of the newest migration it knows. behind: by how much code may be behind this version
-- and still be right on it, which older code cannot know by itself (`ledger.postgres.migrate`).

ALTER TABLE ledger_turn ADD COLUMN behind bigint NOT NULL DEFAULT 0 CHECK (behind >= 0);
