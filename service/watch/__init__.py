"""Watches for what no single call can tell: where spending goes, who is blocked for long, how full the disk is.

What it finds becomes events in the ledger's outbox, each once. Every decision is a pure function over what was read;
`service.watch.watch` reads and tells.
"""
