"""What is counted: how it is called, kept, added up over worker processes, and told.

`instruments` names every figure; a `tally` keeps those of one process in a block of memory that outlives it; a
`recorder` counts what happened; `page` adds up all workers' figures and `text` writes them as Prometheus reads
them; `otlp` writes those of one worker as collectors read them, and `export` sends them there.
"""

from telemetry.metrics.export import exporting_metrics
from telemetry.metrics.instruments import Instrument
from telemetry.metrics.page import Metrics, open_metrics
from telemetry.metrics.recorder import AttemptAccount, CallAccount, Gaps, OperationAccount, Recorder
from telemetry.metrics.tally import Reading, Tally
from telemetry.metrics.text import CONTENT_TYPE

__all__ = [
    "CONTENT_TYPE",
    "AttemptAccount",
    "CallAccount",
    "Gaps",
    "Instrument",
    "Metrics",
    "OperationAccount",
    "Reading",
    "Recorder",
    "Tally",
    "exporting_metrics",
    "open_metrics",
]
