"""Connections beyond what one process takes: they are told so, rather than left to wait in the socket's backlog.

granian leaves a connection that it has no place for in the backlog, where its client waits without a word, and tells
nobody how many it has. Each of them is a descriptor of this process: with as many as the cap allows, and somebody
waiting a moment later still, there is no place.
"""

import asyncio
import contextlib
import logging
import math
import resource
import select
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import msgspec

from ledger.loops import running
from router.errors import Overloaded
from service.errors import PROBLEM_MEDIA_TYPE, problem_body, problem_of

LOOK_S: Final = 0.25
# Files, the ledger's readers, idle connections to providers: what is open beside callers and their calls.
OWN_DESCRIPTORS: Final = 512
# A call that is hedged has more than one connection to providers; few are.
ATTEMPTS_AT_ONCE: Final = 2
# A reset would take the answer with it: what the client is still saying is read for so long.
LAST_WORDS_S: Final = 0.5
MOST_AT_ONCE: Final = 256
DESCRIPTORS: Final = Path("/dev/fd")

log = logging.getLogger(__name__)


def connection_cap(wanted: int, *, max_in_flight: int) -> int:
    """How many connections this process takes: as many as wanted, and as its descriptors allow.

    Only calls in flight have connections to providers. Raises the soft limit as far as the system lets it.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = descriptors_for(wanted, max_in_flight)
    if soft != resource.RLIM_INFINITY and soft < needed:
        soft = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    cap = wanted if soft == resource.RLIM_INFINITY else connections_within(soft, wanted, max_in_flight)
    if cap < wanted:
        log.warning("of max_connections = %d only %d are taken: the system allows %d open files", wanted, cap, soft)
    return cap


def descriptors_for(connections: int, max_in_flight: int) -> int:
    """How many descriptors so many callers may need. No more calls are in flight than there are callers. Pure."""
    return connections + ATTEMPTS_AT_ONCE * min(connections, max_in_flight) + OWN_DESCRIPTORS


def connections_within(descriptors: int, wanted: int, max_in_flight: int) -> int:
    """The most callers, of those wanted, that so many descriptors do for; 1 at least. Pure."""
    if descriptors_for(wanted, max_in_flight) <= descriptors:
        return wanted
    room = descriptors - OWN_DESCRIPTORS
    return max(1, room - ATTEMPTS_AT_ONCE * max_in_flight, min(max_in_flight, room // (1 + ATTEMPTS_AT_ONCE)))


@asynccontextmanager
async def turning_away(listening: socket.socket, *, max_connections: int) -> AsyncIterator[None]:
    """While the block runs, tell connections that nobody has a place for `503 overloaded`, with its Retry-After."""
    async with running(_turn_away(listening, max_connections), name="connections beyond the cap"):
        yield


async def _turn_away(listening: socket.socket, max_connections: int) -> None:
    poll = select.poll()
    poll.register(listening, select.POLLIN)
    answer = _answer()
    telling: set[asyncio.Task[None]] = set()
    waited = False
    while True:
        await asyncio.sleep(LOOK_S)
        was_waiting, waited = waited, bool(poll.poll(0))
        if not (was_waiting and waited and _descriptors() >= max_connections):
            continue
        while len(telling) < MOST_AT_ONCE and (connection := _accepted(listening)) is not None:
            task = asyncio.create_task(_tell(connection, answer))
            telling.add(task)
            task.add_done_callback(telling.discard)


def _descriptors() -> float:
    """How many files and connections are open; no end of them where not one more may be, to look."""
    try:
        return len(tuple(DESCRIPTORS.iterdir()))
    except OSError:
        return math.inf


def _accepted(listening: socket.socket) -> socket.socket | None:
    try:
        connection, _ = listening.accept()
    except OSError:
        return None
    connection.setblocking(False)
    return connection


async def _tell(connection: socket.socket, answer: bytes) -> None:
    loop = asyncio.get_running_loop()
    with contextlib.suppress(OSError, TimeoutError), connection:
        async with asyncio.timeout(LAST_WORDS_S):
            await loop.sock_sendall(connection, answer)
            connection.shutdown(socket.SHUT_WR)
            while await loop.sock_recv(connection, 65_536):
                pass


def _answer() -> bytes:
    problem = problem_of(Overloaded(waited_for="a connection"), 0)
    body = msgspec.json.encode(problem_body(problem))
    headers = [
        (b"content-type", PROBLEM_MEDIA_TYPE),
        (b"content-length", b"%d" % len(body)),
        (b"connection", b"close"),
        *problem.headers,
    ]
    lines = b"".join(b"%b: %b\r\n" % pair for pair in headers)
    return b"HTTP/1.1 503 Service Unavailable\r\n" + lines + b"\r\n" + body
