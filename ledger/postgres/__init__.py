"""The ledger on PostgreSQL: the same operations in their own words, one writer's turn at a time across all replicas."""
