"""The ledger's face, whichever engine keeps it: the queue of transactions, and what is written and read through it.

An engine brings a `Writer` of its own (how a batch is committed) and `Readings` (where a snapshot is read).
"""
