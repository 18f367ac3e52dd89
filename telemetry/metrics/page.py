"""All workers' figures as one, and in Prometheus' text form."""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector, CollectorRegistry
from prometheus_client.utils import floatToGoString

from telemetry.metrics.instruments import INSTRUMENTS, Instrument, prometheus_label
from telemetry.metrics.recorder import Recorder
from telemetry.metrics.tally import Reading, Tally, read_others

CONTENT_TYPE: Final = CONTENT_TYPE_LATEST


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
        """All of it, as `CONTENT_TYPE`. own: as `own` gave it; told: what all processes know alike. For any thread."""
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


def as_text(readings: Iterable[Reading]) -> bytes:
    """These readings as Prometheus reads them."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Families(readings))
    return generate_latest(registry)


def _both(one: Reading, other: Reading) -> Reading:
    merge = max if one.instrument.merge == "max" else sum
    numbers = tuple(merge(pair) for pair in zip(one.numbers, other.numbers, strict=True))
    return Reading(one.instrument, one.labels, numbers)


class _Families(Collector):
    def __init__(self, readings: Iterable[Reading]) -> None:
        self._readings: dict[str, list[Reading]] = {}
        for reading in readings:
            self._readings.setdefault(reading.instrument.name, []).append(reading)

    def collect(self) -> Iterator[Metric]:
        for instrument in INSTRUMENTS:
            if readings := self._readings.get(instrument.name):
                yield _family(instrument, readings)


def _family(instrument: Instrument, readings: list[Reading]) -> Metric:
    name, labels = instrument.prometheus_name, [prometheus_label(label) for label in instrument.labels]
    match instrument.kind:
        case "counter":
            counter = CounterMetricFamily(name, instrument.help, labels=labels)
            for reading in readings:
                counter.add_metric(reading.labels, reading.numbers[0])
            return counter
        case "gauge":
            gauge = GaugeMetricFamily(name, instrument.help, labels=labels)
            for reading in readings:
                gauge.add_metric(reading.labels, reading.numbers[0])
            return gauge
        case "histogram":
            histogram = HistogramMetricFamily(name, instrument.help, labels=labels)
            bounds = [*map(floatToGoString, instrument.bounds), "+Inf"]
            for reading in readings:
                *counts, total = reading.numbers
                buckets = list(zip(bounds, itertools.accumulate(counts), strict=True))
                histogram.add_metric(reading.labels, buckets, total)
            return histogram
