"""Threads that serve ask the system for short turns."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from service.timeslice import SLICE_NS, ask_for_short_slices, slice_ns
from tests.processes import farthing_serve, one_route
from tests.upstream import scripted_upstream


def asked_and_found():
    """In a thread of its own, so that no other test's is changed; and in one that it starts."""
    taken = ask_for_short_slices()
    with ThreadPoolExecutor(1) as started:
        return taken, slice_ns(), started.submit(slice_ns).result()


def test_a_thread_and_those_that_it_starts_run_for_a_short_while_at_a_time():
    before = slice_ns()
    with ThreadPoolExecutor(1) as thread:
        taken, own, started = thread.submit(asked_and_found).result()
    assert slice_ns() == before
    assert own == started
    # Linux before 6.12 knows nothing of it, and says 0.
    assert own in ((SLICE_NS, 0) if taken else (before,))


async def test_the_service_runs_so(tmp_path):
    with ThreadPoolExecutor(1) as thread:
        _, expected, _ = thread.submit(asked_and_found).result()
    async with scripted_upstream() as upstream, farthing_serve(tmp_path, config=one_route(upstream.url)) as service:
        await service.get("/health/live")
        tasks = [int(task.name) for task in Path(f"/proc/{service.process.pid}/task").iterdir()]
        assert {slice_ns(task) for task in tasks} == {expected}
