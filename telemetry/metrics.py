"""Metrics in Prometheus' text form, in a registry that is handed in."""

from typing import Final

from prometheus_client import CollectorRegistry, Gauge
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

CONTENT_TYPE: Final = CONTENT_TYPE_LATEST
# {figure: what it says}.
LEDGER_GAUGES: Final = {
    "drift": "Broken rows that the service's own audit of the ledger has found; above 0: run farthing verify",
    "verified_seq": "The newest line of the ledger that the service's own audit has looked at",
    "verify_seconds": "How long the last look of the service's own audit took",
    "wal_bytes": "Size of the ledger's write-ahead log",
    "queue_depth": "Writes that wait for the ledger, in all worker processes",
}


class Metrics:
    """What is counted, and its text."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry
        self._ledger = {
            name: Gauge(f"farthing_ledger_{name}", text, registry=registry) for name, text in LEDGER_GAUGES.items()
        }

    def set_ledger(self, figures: dict[str, float]) -> None:
        """Take {figure: its value now}, under the names of LEDGER_GAUGES."""
        for name, value in figures.items():
            self._ledger[name].set(value)

    def render(self) -> bytes:
        """All of it, as `CONTENT_TYPE`."""
        return generate_latest(self._registry)


def open_metrics() -> Metrics:
    """Metrics of their own."""
    return Metrics(CollectorRegistry())
