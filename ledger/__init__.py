"""Everything durable: money, holds, postings, stored responses, flights, latency.

`open_ledger(url)` opens one; its operations are transactions, and only its writer writes. No HTTP here, no provider.
The invariants are listed in README.md and checked by `farthing verify`.

What was spent and how long it took, by `provider:model`, from one consistent snapshot::

    from ledger import open_ledger

    async with open_ledger("sqlite:farthing.db") as ledger:
        async with ledger.transaction() as txn:
            spend = await txn.get_all_spend()      # {"openai:gpt-4o-mini": Spend(cost_nanousd=1234567890, …), …}
            latency = await txn.get_all_latency()  # {"openai:gpt-4o-mini": Latency(count=9, p50_ms=812.4, …), …}

The reports are made of the same readings. A program that only reads may take `open_reports(url)` instead: it needs no
lease, makes no file and offers the same `transaction()`. Both are safe beside a running service.
"""

from ledger.faces import LedgerReports, Transaction
from ledger.ledger import Ledger, open_ledger, open_reports
from ledger.reports import Latency, Spans, Spend

__all__ = ["Latency", "Ledger", "LedgerReports", "Spans", "Spend", "Transaction", "open_ledger", "open_reports"]
