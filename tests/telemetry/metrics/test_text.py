"""Prometheus' text form, beside what its own client writes of the same."""

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from telemetry.metrics import Tally
from telemetry.metrics import instruments as its
from telemetry.metrics.text import as_text

# What ends a line for str.splitlines ends none for Prometheus, whose client's own parser is not clear about that.
WORDS = st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]) | st.sampled_from('\\"\n{},= '), max_size=12)
VALUES = st.floats(0, 1e12) | st.sampled_from(its.SHORT_SECONDS)


def read(text: bytes) -> dict[tuple[str, ...], float]:
    """{(sample, its labels' names and values): value}, as Prometheus' own client reads it."""
    return {
        (sample.name, *(part for pair in sorted(sample.labels.items()) for part in pair)): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
        if not sample.name.endswith("_created")
    }


@given(st.lists(VALUES, max_size=20), st.dictionaries(WORDS, VALUES, max_size=4), VALUES)
def test_it_reads_as_what_prometheus_own_client_writes(
    lags: list[float], refusals: dict[str, float], depth: float
) -> None:
    registry, tally = CollectorRegistry(), Tally()
    lag = Histogram(its.LOOP_LAG.prometheus_name, "…", buckets=its.SHORT_SECONDS, registry=registry)
    refused = Counter(its.REFUSALS.prometheus_name, "…", ["code"], registry=registry)
    queue = Gauge(its.QUEUE_AGE.prometheus_name, "…", registry=registry)
    spread = tally.spread(its.LOOP_LAG)
    for value in lags:
        lag.observe(value)
        spread.observe(value)
    for code, count in refusals.items():
        refused.labels(code).inc(count)
        tally.count(its.REFUSALS, code).add(count)
    queue.set(depth)
    tally.count(its.QUEUE_AGE).set(depth)
    assert read(as_text(tally.readings())) == read(generate_latest(registry))


def test_two_labels_and_their_buckets_stand_in_order() -> None:
    tally = Tally()
    tally.spread(its.FIRST_CHUNK, "chat", "a", 'b "c"').observe(0.03)
    lines = as_text(tally.readings()).decode().splitlines()
    labels = r'gen_ai_operation_name="chat",gen_ai_provider_name="a",gen_ai_request_model="b \"c\""'
    name = "gen_ai_client_operation_time_to_first_chunk_seconds"
    assert lines[1] == f"# TYPE {name} histogram"
    assert lines[2] == f'{name}_bucket{{{labels},le="0.01"}} 0.0'
    assert lines[4] == f'{name}_bucket{{{labels},le="0.04"}} 1.0'
    assert lines[-3:] == [
        f'{name}_bucket{{{labels},le="+Inf"}} 1.0',
        f"{name}_count{{{labels}}} 1.0",
        f"{name}_sum{{{labels}}} 0.03",
    ]
