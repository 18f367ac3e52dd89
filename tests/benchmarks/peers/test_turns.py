"""One turn, of a gateway that is none: the upstream itself."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import msgspec
import pytest

from benchmarks import measures
from benchmarks.__main__ import direct
from benchmarks.load import Target
from benchmarks.measures import Contender
from benchmarks.peers import turns
from benchmarks.peers.gateways import SAID, Gateway
from benchmarks.peers.turns import Asked, NotMeasured, turn
from benchmarks.processes import running_upstream, wait_for_answer


@pytest.fixture(scope="module")
def asked():
    with running_upstream() as upstream:
        yield Asked(upstream, direct(upstream), 0.05)


def test_a_turn_comes_to_every_figure(asked):
    @contextmanager
    def running(_folder: Path, _port: int) -> Iterator[Contender]:
        yield asked.direct

    figures = turn(Gateway("none", lambda: None, running, is_kept=True), asked)
    assert figures.pop("upstream_calls") == measures.EQUAL_CALLS
    assert figures.pop("hits") is None  # The upstream was asked each time.
    assert None not in figures.values()
    assert {"proxied", "proxied_many", "cpu_ms", "streams", "first_ms", "open_p99_ms", "start_s"} <= figures.keys()


def test_who_does_not_answer_is_not_measured_and_its_last_words_say_why(asked, monkeypatch):
    monkeypatch.setattr(turns, "wait_for_answer", partial(wait_for_answer, within_s=0.05))

    @contextmanager
    def running(folder: Path, _port: int) -> Iterator[Contender]:
        (folder / SAID).write_text("starting\nno such table\n", "utf-8")
        yield msgspec.structs.replace(asked.direct, now=Target(port=1))

    with pytest.raises(NotMeasured) as failed:
        turn(Gateway("none", lambda: None, running), asked)
    assert failed.value.reason == "no such table"
