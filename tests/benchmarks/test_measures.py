"""What is measured, on the upstream itself: the one whose figures are known."""

import pytest

from benchmarks import measures
from benchmarks.__main__ import direct
from benchmarks.processes import DELAY_MS, running_upstream, seen_by, wait_for_answer


@pytest.fixture(scope="module")
def upstream():
    with running_upstream() as upstream:
        yield upstream


async def test_without_a_gateway_every_equal_call_goes_upstream(upstream):
    found = await measures.equal_calls(direct(upstream), upstream)
    assert (found.upstream_calls, found.failures) == (measures.EQUAL_CALLS, 0)
    assert found.answered_ms > 0


async def test_a_rate_has_its_processor_time_and_no_failures(upstream):
    calls = seen_by(upstream).calls
    found = await measures.rate(direct(upstream), 4, 0.2)
    assert found.failures == 0
    assert 0 < found.per_second * 0.2 <= seen_by(upstream).calls - calls
    assert found.cpu_us > 0


async def test_what_the_upstream_thinks_about_takes_so_long(upstream):
    found = await measures.latency(direct(upstream), 4, 0.095, a_second=100)
    assert found.failures == 0
    assert len(found.latencies_ms) == 10
    # A timer is right to a millisecond, and both sides have one.
    assert found.quantile_ms(0.5) >= DELAY_MS - 2


async def test_a_stream_has_a_first_event(upstream):
    found = await measures.streams(direct(upstream), 2, 0.1)
    assert found.failures == 0
    assert found.first_p50_ms > 0


async def test_large_prompts_go_beside_small_calls(upstream):
    calls = seen_by(upstream).calls
    found = await measures.small_calls(direct(upstream), 0.2, beside_large=True)
    assert found.failures == 0
    assert seen_by(upstream).calls - calls > len(found.latencies_ms)


def test_the_first_answer_is_waited_for_but_not_for_ever(upstream):
    assert wait_for_answer(direct(upstream).now) > 0
    with pytest.raises(TimeoutError, match="no answer within"):
        wait_for_answer(measures.Target(1), within_s=0.05)
