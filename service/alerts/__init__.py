"""Tells people what the ledger's outbox holds.

Who is told (`targets`), in which words (`message`), how (`sending`), what becomes of it (`answers`), and how much of it
at once (`pace`): that is decided or said by plain functions. `courier` acts on it, for one target.
"""
