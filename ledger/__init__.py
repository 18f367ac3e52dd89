"""Everything durable: money, holds, postings, stored responses, flights, latency.

`open_ledger(url)` opens one; its operations are transactions, and only its writer writes. No HTTP here, no provider.
The invariants are listed in README.md and checked by `farthing verify`.
"""
