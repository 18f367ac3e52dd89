"""The ledger on PostgreSQL: the same operations in their own words, one writer's turn at a time across all replicas.

Engines that speak PostgreSQL's protocol and are distributed (CockroachDB, YugabyteDB) have not been tried. What calls,
reports and audits ask of a server is common ground: `INSERT … ON CONFLICT`, `RETURNING`, row locks, savepoints, common
table expressions; no session state, no LISTEN, no SKIP LOCKED, no transition tables. What is beyond it, and where:

- The rules of the schema are triggers in PL/pgSQL, one row at a time, and before TRUNCATE: `migrations/0001` and later.
- Each migration is one transaction with all of its DDL, and there are advisory locks until a transaction ends, which
  `migrate.py` takes. An engine that takes the call and locks nothing has two first starts race, and nothing then
  keeps a migration from committing amid a batch beside the turn.
- Months are range partitions that are attached, locked, and dropped with what is in them, by functions with their
  owner's rights: `migrations/0004_months.sql`. Folding one has a temporary table for one transaction: `fold.sql`.
- A batch that waited for its turn sees what was committed meanwhile: READ COMMITTED. Where all is SERIALIZABLE, such
  a batch is refused (40001), and its callers are told 503 and come back. Reports and audits are REPEATABLE READ.
- Limits are set by `SET LOCAL`: `lock_timeout`, `statement_timeout`, `idle_in_transaction_session_timeout` (without it
  a silent replica keeps its turn); `synchronous_commit`, `plan_cache_mode`, and others of the planner's.
- `pg_dump` and standbys are PostgreSQL's.
"""
