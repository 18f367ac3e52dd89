"""Serves the application: granian in this process's own loop, or in worker processes that share the listening socket.

A SIGTERM drains: readiness goes at once, what is in flight ends within `drain_s`, then the process leaves with 0.
"""

import asyncio
import gc
import logging
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Final

import uvloop
from granian._granian import SocketHolder
from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.server.embed import Server

from ledger.loops import running
from service.app import create_app
from service.assembly import open_parts
from service.config import Config
from service.hangup import take_hangups
from service.http.generation import Slots
from service.overflow import connection_cap, turning_away
from service.parts import Parts
from service.reachability import log_reachable
from service.readiness import Draining
from service.timeslice import ask_for_short_slices
from service.workers import WORKER

BACKLOG: Final = 2048
# The interpreter's default of 5 ms lets a background thread hold up every request: DESIGN §9.
SWITCH_INTERVAL_S: Final = 0.0005
GC_THRESHOLDS: Final = (20_000, 20, 100)
# Streams that are cut at the end of the drain still get to say so.
LAST_WORDS_S: Final = 2.0
# For all headers of a request to come, and how long a connection may lie idle; granian knows but one number for both.
HEADERS_MS: Final = 30_000
# Headers beyond this, or more than a hundred of them, are 431 before they reach us.
HEADER_BYTES: Final = 65_536

log = logging.getLogger(__name__)


class SocketServer(Server):
    """granian's embedded server, on a socket that is listening already.

    max_connections: further ones are left in the socket's backlog. HTTP/1.1 only: a connection that might yet speak
    HTTP/2 is waited for without end.
    """

    def __init__(self, app: Any, listening: socket.socket, *, max_connections: int) -> None:
        self._listening = listening
        host, port = listening.getsockname()[:2]
        super().__init__(
            app,
            address=host,
            port=port,
            interface=Interfaces.ASGINL,
            http=HTTPModes.http1,
            http1_settings=HTTP1Settings(header_read_timeout=HEADERS_MS, max_buffer_size=HEADER_BYTES),
            backlog=BACKLOG,
            backpressure=max_connections,
            log_enabled=False,
            log_dictconfig={"handlers": {}, "loggers": {}},  # Logging is set up already.
            websockets=False,
        )

    def _init_shared_socket(self) -> None:
        # granian shares the listening socket between its workers the same way; its stubs leave the arguments out. It
        # closes what it is given: a duplicate, for ours is ours to close, and its number may be another file's by then.
        # Not by `socket.dup`, which has a socket that was inherited block: all workers' at once, for they share it, and
        # one of them would then wait in `accept` for a connection that another one took.
        given = os.dup(self._listening.fileno())
        self._shd = SocketHolder(given, False, BACKLOG)  # type: ignore[call-arg, assignment]
        self._ssp = None


def listen(host: str, port: int) -> socket.socket:
    """A listening socket. Port 0 is a free one. Raises OSError when the address is taken."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.create_server((host, port), family=family, backlog=BACKLOG)
    listening.setblocking(False)
    # Answers are small and wait for nobody: without this a second write may wait 40 ms for an acknowledgement.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listening


def serve(config: Config, read: Callable[[], Config], environ: Mapping[str, str], listening: socket.socket) -> None:
    """Serve until a SIGTERM or SIGINT; a SIGHUP reads the config again. Raises what keeps the parts from opening."""
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    ask_for_short_slices()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(config, read, environ, listening))


async def _serve(
    config: Config, read: Callable[[], Config], environ: Mapping[str, str], listening: socket.socket
) -> None:
    draining = Draining()
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, partial(_stop, draining, stopping, is_minded=WORKER in environ))
    port = listening.getsockname()[1]
    max_connections = connection_cap(config.server.max_connections, max_in_flight=config.server.max_in_flight)
    async with (
        open_parts(config, environ, port=port, draining=draining, read=read) as parts,
        _reloading(parts),
        turning_away(listening, max_connections=max_connections),
    ):
        _settle_memory()
        slots = Slots(parts)
        server = SocketServer(create_app(parts, slots), listening, max_connections=max_connections)
        serving = asyncio.create_task(server.serve(), name="http server")
        signalled = asyncio.create_task(stopping.wait(), name="stop signal")
        # One of several workers is enough to say it.
        is_first = environ.get(WORKER, "0") == "0"
        if is_first and parts.keyring.are_needed and await parts.keyring.is_empty():
            log.warning("nobody is answered yet: make a key with `farthing keys create --name NAME --role admin`")
        telling = asyncio.create_task(log_reachable(parts.catalog.routes if is_first else ()), name="reachability")
        await asyncio.wait((serving, signalled), return_when=asyncio.FIRST_COMPLETED)
        if not serving.done():
            await parts.live.close(within_s=LAST_WORDS_S)
            await slots.emptied(within_s=config.server.drain_s)
            parts.gateway.stop()
            await slots.emptied(within_s=LAST_WORDS_S)
            server.stop()  # type: ignore[no-untyped-call]
        signalled.cancel()
        telling.cancel()
        await asyncio.wait((signalled, telling))
        await serving


@asynccontextmanager
async def _reloading(parts: Parts) -> AsyncIterator[None]:
    """Obey SIGHUP while the block runs: one reload after the other, the last signal's never left out."""
    asked = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, asked.set)
    take_hangups()
    async with running(_reload_when_asked(parts, asked), name="config reload"):
        yield


async def _reload_when_asked(parts: Parts, asked: asyncio.Event) -> None:
    assert parts.reload is not None
    while True:
        await asked.wait()
        asked.clear()
        try:
            await parts.reload()
        except Exception:
            log.exception("the config was not taken; send the signal again")


def _settle_memory() -> None:
    """What is there by now stays: keep the collector from walking all of it again and again (p99 of a miss halved)."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)


def _stop(draining: Draining, stopping: asyncio.Event, *, is_minded: bool) -> None:
    """The first signal drains; a second one, while that goes on, is obeyed at once.

    is_minded: it is one of several workers. What is sent to all processes of a group reaches such a one twice, for
    whoever minds it passes it on; that one knows a second signal when it gets one.
    """
    if draining.is_on and not is_minded:
        os._exit(1)
    draining.is_on = True
    stopping.set()
