"""What an answered call leaves behind: nothing that only the collector of circles finds, which would be dear."""

import asyncio
import gc
import json
from collections import Counter
from contextlib import contextmanager

import pytest

from service.app import create_app
from tests.router.gateways import open_gateway
from tests.scripts import answer, stream
from tests.service.http.scripted import Edge, Limits
from tests.upstream import scripted_upstream

CALLS = 5
OURS = ("service.", "router.", "ledger.", "telemetry.")
SCRIPTS = {"miss": answer("hello"), "hit": answer("hello"), "stream": stream("hello you")}


@pytest.mark.parametrize("kind", SCRIPTS)
async def test_a_call_that_is_over_is_gone(tmp_path, kind):
    async with scripted_upstream() as upstream, open_gateway(tmp_path, upstream) as house:
        app = create_app(Edge(Limits(), house.gateway).parts)
        upstream.plays(*[SCRIPTS[kind]] * 2 * CALLS)
        for number in range(CALLS):  # What is made once, for all calls, is made.
            await ask(app, kind, number)
        with found() as left:
            for number in range(CALLS, 2 * CALLS):
                await ask(app, kind, number)
    assert not left, left


@contextmanager
def found():
    """{type of ours: how many of it the block leaves in circles}."""
    left = Counter()
    gc.collect()
    gc.disable()
    try:
        yield left
        gc.set_debug(gc.DEBUG_SAVEALL)
        gc.collect()
        left.update(type(it).__qualname__ for it in gc.garbage if type(it).__module__.startswith(OURS))
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()


async def ask(app, kind, number):
    """One request, past any server, to the end of its response."""
    body = {"prompt": "the same" if kind == "hit" else f"number {number}", "stream": kind == "stream"}
    raw = json.dumps(body).encode()
    headers = [(b"host", b"127.0.0.1"), (b"content-type", b"application/json"), (b"content-length", b"%d" % len(raw))]
    scope = {"type": "http", "method": "POST", "path": "/generate", "headers": headers}
    sent = []

    async def receive():
        return {"type": "http.request", "body": raw}

    async def send(message):
        sent.append(message)

    await asyncio.create_task(app(scope, receive, send))
    assert sent[0]["status"] == 200, sent
