"""The ledger on PostgreSQL: what a replica's batches take, what several replicas come to, and where they stop."""
