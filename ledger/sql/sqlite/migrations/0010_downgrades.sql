-- From which share of its limit on a ceiling has routes move to their cheaper targets. NULL: never.
ALTER TABLE ceilings ADD COLUMN downgrade_at REAL CHECK (downgrade_at > 0 AND downgrade_at <= 1);
