"""All workers' figures as one."""

import itertools
from collections.abc import Iterable, Sequence
from pathlib import Path

from telemetry.metrics.recorder import Recorder
from telemetry.metrics.tally import Reading, Tally, read_others
from telemetry.metrics.text import as_text


class Metrics:
    """What this process counts, and what all workers did."""

    def __init__(self, tally: Tally, *, folder: Path | None = None, worker: str = "0") -> None:
        self.recorder = Recorder(tally)
        self.worker = worker
        self._tally = tally
        self._folder = folder

    def own(self) -> list[Reading]:
        """The readings of this process alone."""
        return self._tally.readings()

    def render(self, own: Sequence[Reading], told: Iterable[Reading]) -> bytes:
        """All workers' figures in Prometheus' text form. For any thread.

        own: as `own` gave it; told: what all processes know alike.
        """
        others = read_others(self._folder, but=self.worker) if self._folder is not None else []
        return as_text((*merged((own, *others)), *told))

    def close(self) -> None:
        """Let go of the files."""
        self._tally.close()


def open_metrics(folder: Path | None = None, worker: str = "0") -> Metrics:
    """Metrics of one process. folder: where all workers of a service keep theirs; None: it is the only one."""
    return Metrics(Tally(folder, worker), folder=folder, worker=worker)


def merged(workers: Iterable[Sequence[Reading]]) -> list[Reading]:
    """One reading for each series: counts added up, gauges as their instrument says."""
    found: dict[tuple[str, tuple[str, ...]], Reading] = {}
    for reading in itertools.chain.from_iterable(workers):
        key = (reading.instrument.name, reading.labels)
        before = found.get(key)
        found[key] = reading if before is None else _both(before, reading)
    return list(found.values())


def _both(one: Reading, other: Reading) -> Reading:
    merge = max if one.instrument.merge == "max" else sum
    numbers = tuple(merge(pair) for pair in zip(one.numbers, other.numbers, strict=True))
    return Reading(one.instrument, one.labels, numbers)
