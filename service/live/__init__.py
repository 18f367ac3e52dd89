"""Calls as they come and go, for whoever watches: `GET /live`.

`board` keeps the newest calls in memory and tells each listener of every change, within bounds: who does not keep up is
dropped, and nothing is kept while nobody listens. `told` is how a call of this process gets onto it; `elsewhere` reads
the calls of other processes from the ledger, once a second while somebody listens. Both may tell of the same call: what
says less than was told before is not told again.
"""
