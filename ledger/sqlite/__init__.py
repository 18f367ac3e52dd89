"""The ledger on one SQLite file: WAL, FULL, one writer at a time, many calls a commit."""
