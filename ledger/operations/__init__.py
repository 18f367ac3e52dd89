"""The ledger's rules, written once: plain functions over a `Database`, each within one transaction of whoever calls it.

Their statements are in `ledger/sql/sqlite`; another engine has words of its own only where those do not do.
"""
