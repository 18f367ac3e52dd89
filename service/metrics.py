"""What `GET /metrics` answers: the figures of the parts, asked for when somebody reads them."""

from ledger.errors import LedgerUnavailable
from ledger.ledger import Ledger
from telemetry.metrics import Metrics


class MetricsPage:
    """Asks the ledger and renders. While the ledger cannot be read its last figures stand."""

    def __init__(self, metrics: Metrics, ledger: Ledger) -> None:
        self._metrics = metrics
        self._ledger = ledger

    async def render(self) -> bytes:
        """All metrics, as they are now."""
        try:
            figures = await self._ledger.figures()
        except LedgerUnavailable:
            return self._metrics.render()
        self._metrics.set_ledger(
            {
                "drift": figures.drift,
                "verified_seq": figures.verified_seq,
                "verify_seconds": figures.verify_s,
                "wal_bytes": figures.wal_bytes,
                "queue_depth": figures.queue_depth,
            }
        )
        return self._metrics.render()
