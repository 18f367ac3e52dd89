"""What metrics cost: `python -m benchmarks.metrics`.

What a call pays for being counted, and what a scrape costs, in CPU time over several rounds.
"""

import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

from ledger.usage import Usage
from ledger.values import AttemptResult, Ending, GenerationFacts
from router.books import Books
from router.call import Attribution, CacheWish, Call, Trace
from router.deployments import Deployment, Provider
from router.flights import Flight
from router.journey import Attempt, Journey
from router.plan import Candidate
from telemetry.metrics import Metrics, open_metrics

CALLS: Final = 5_000
SCRAPES: Final = 10
ROUNDS: Final = 15
MODELS: Final = 40
WORKERS: Final = (1, 4)


def a_call(model: str, key: str) -> tuple[Journey, Attempt, Ending]:
    """A call that ended well, as the ledger has just taken it."""
    provider = Provider(name="openai", dialect="openai", base_url="http://127.0.0.1:1/v1")
    candidate = Candidate(
        deployment=Deployment(provider=provider, model=model, price=None, encoding="o200k_base"),
        held_nanousd=20_000,
        body={},
    )
    result = AttemptResult(
        hold_id="gen_1.1",
        outcome="ok",
        cost_nanousd=12_345,
        cost_basis="priced_usage",
        usage=Usage(input_tokens=20, cached_tokens=8, output_tokens=40, reasoning_tokens=16),
        price_version="bench",
        latency_us=800_000,
        ttft_us=120_000,
    )
    call = Call(
        generation_id="gen_1",
        model="chat",
        body={},
        stream=True,
        received_at_ms=0,
        deadline_s=60.0,
        attribution=Attribution(key_id=key),
        cache=CacheWish(),
        trace=Trace(trace_id="0" * 32, server_span_id="1" * 16, chat_span_id="2" * 16),
    )
    facts = GenerationFacts(
        generation_id="gen_1", created_at_ms=0, route="chat", stream=True, trace_id="0" * 32, attribution={"key": key}
    )
    attempt = Attempt(number=1, candidate=candidate, hold_id="gen_1.1", span_id="3" * 16, result=result)
    journey = Journey(
        call=call,
        route="chat",
        facts=facts,
        lookup=None,
        storing_ttl_s=None,
        replaces_stored=False,
        candidates=(candidate,),
        flight=Flight("gen_1", f"openai:{model}"),
        began_s=0.0,
        attempts=[attempt],
    )
    ending = Ending(
        generation_id="gen_1",
        outcome="ok",
        deployment=f"openai:{model}",
        cost_basis="priced_usage",
        finished_at_ms=800,
        latency_us=810_000,
    )
    return journey, attempt, ending


def count(metrics: Metrics, journey: Journey, attempt: Attempt, ending: Ending) -> None:
    """All that is counted of one call that was sent to a provider."""
    recorder, books = metrics.recorder, Books(metrics.recorder)
    recorder.calls_in_flight(3)
    books.count_attempt(journey, attempt)
    books.count_lead(journey, attempt, ending)
    recorder.calls_in_flight(2)
    recorder.request("POST", "/v1/chat/completions", 200, "", 0.81)


def cpu_s(work: Callable[[], object], times: int) -> tuple[float, float]:
    """The CPU time of one: the median of the rounds, and the least."""
    rounds: list[float] = []
    for _ in range(ROUNDS):
        began_s = time.thread_time()
        for _ in range(times):
            work()
        rounds.append((time.thread_time() - began_s) / times)
    return statistics.median(rounds), min(rounds)


def _scrape(first: Metrics) -> bytes:
    return first.render(first.own(), ())


def main() -> None:
    """Print the figures."""
    told = a_call("gpt-4o", "key_1")
    with tempfile.TemporaryDirectory() as folder:
        alone, one_of_many = open_metrics(), open_metrics(Path(folder), "0")
        for name, metrics in (("alone", alone), ("one of several workers", one_of_many)):
            usual_s, least_s = cpu_s(partial(count, metrics, *told), CALLS)
            print(f"a call, {name}: {usual_s * 1e6:.1f} µs of CPU, {least_s * 1e6:.1f} at best (aim: below 15)")
        one_of_many.close()
    for workers in WORKERS:
        with tempfile.TemporaryDirectory() as folder:
            opened = [open_metrics(Path(folder), str(worker)) for worker in range(workers)]
            for metrics in opened:
                for number in range(MODELS):
                    count(metrics, *a_call(f"model-{number}", f"key_{number}"))
            first = opened[0]
            scrape_s, _ = cpu_s(partial(_scrape, first), SCRAPES)
            kib = len(first.render(first.own(), ())) // 1024
            print(f"a scrape of {workers} workers, {MODELS} models, {kib} KiB: {scrape_s * 1e3:.1f} ms of CPU")
            for metrics in opened:
                metrics.close()


if __name__ == "__main__":
    main()
