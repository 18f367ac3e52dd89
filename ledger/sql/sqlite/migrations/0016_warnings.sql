-- Ceilings warn. warn_at: shares of the limit, a JSON list. warn_amount: what the window's spend is compared with.
ALTER TABLE ceilings ADD COLUMN warn_at TEXT NOT NULL DEFAULT '[]';
ALTER TABLE ceiling_windows ADD COLUMN warn_amount INTEGER CHECK (warn_amount > 0);
