"""Callers who do not read: they slow nobody, they cost no memory, and they are told in the end."""

import asyncio
import json
import re
import socket
from contextlib import asynccontextmanager
from pathlib import Path

from tests.router.gateways import open_gateway
from tests.service.http.scripted import an_edge
from tests.upstream import scripted_upstream, stream

CHAT = "/v1/chat/completions"
BODY = {"model": "chat", "messages": [{"role": "user", "content": "a long tale"}], "max_tokens": 50, "stream": True}
# The same in another format, so that it shares a flight with those.
NATIVE = "/generate", {"messages": BODY["messages"], "params": {"max_tokens": 50}, "stream": True}
PIECE = "farthing " * 2**13
# Twice what the sockets on the way and all our bounds take together.
LONG = [PIECE] * 112
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"
EVENT = b'data: {"choices":[{"index":0,"delta":{"content":"%b"}}]}\n\n' % PIECE.encode()


def most_in_sockets():
    """What the kernel keeps at most on the way from an upstream, to us and on to the caller: machines differ."""
    to_us, on = (int(Path(f"/proc/sys/net/ipv4/tcp_{name}").read_text("ascii").split()[2]) for name in ("rmem", "wmem"))
    return to_us + 2 * on


@asynccontextmanager
async def a_service(tmp_path, **limits):
    async with (
        scripted_upstream() as upstream,
        open_gateway(tmp_path, upstream) as house,
        an_edge(gateway=house.gateway, **limits) as (edge, client),
    ):
        yield edge, house, upstream, client


@asynccontextmanager
async def who_does_not_read(edge, path=CHAT, body=BODY):
    """A caller on a socket that takes as little as a socket can."""
    loop, data = asyncio.get_running_loop(), json.dumps(body).encode()
    with socket.socket() as caller:
        caller.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2**16)
        caller.setblocking(False)
        await loop.sock_connect(caller, ("127.0.0.1", edge.port))
        head = f"POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\nconnection: close\r\n"
        await loop.sock_sendall(caller, head.encode() + b"content-length: %d\r\n\r\n%b" % (len(data), data))
        yield caller


async def read_on(caller) -> bytes:
    """All that there is for it, until its connection ends."""
    pieces = []
    async with asyncio.timeout(20):
        while piece := await asyncio.get_running_loop().sock_recv(caller, 2**20):
            pieces.append(piece)
    return b"".join(pieces)


def listeners(house) -> int:
    return max((len(flight._listeners) for flight in house.gateway._flights.values()), default=0)


async def test_who_does_not_read_is_dropped_and_the_others_hear_all(tmp_path):
    async with a_service(tmp_path) as (edge, house, upstream, client):
        # Less than a reader may be behind; the next lot comes once both have the last, however slow this machine is.
        lots = [LONG[first : first + 8] for first in range(0, len(LONG), 8)]
        gates, has = [asyncio.Event() for _ in lots], [0, 0]

        async def reads(who):
            content = bytearray()
            async with client.stream("POST", CHAT, json=BODY) as answer:
                async for piece in answer.aiter_bytes():
                    content += piece
                    has[who] = len(content)
                    for gate in gates[: min(has) // (8 * len(PIECE)) + 1]:
                        gate.set()
            return answer, bytes(content)

        upstream.plays(stream([part for gate, lot in zip(gates, lots, strict=True) for part in (gate, *lot)]))
        async with who_does_not_read(edge, *NATIVE) as stuck:
            await upstream.until(lambda it: len(it.requests) == 1)
            readers = [asyncio.create_task(reads(who)) for who in range(2)]
            await house.until(lambda: listeners(house) == 3)
            gates[0].set()
            for reader in readers:
                answer, content = await reader
                assert answer.headers["x-farthing-cache"] == "coalesced"
                assert content.count(PIECE.encode()) == len(LONG)
                assert content.endswith(b"data: [DONE]\n\n")
            heard = await read_on(stuck)
        assert heard.count(PIECE.encode()) < len(LONG)
        last = heard[heard.rindex(b"data: ") :]
        assert re.search(rb'"code": ?"slow_reader"', last)
        assert re.search(rb'"behind_bytes": ?1[0-9]{6}\b', last)
        assert b"[DONE]" not in heard
        # It is whole, and stored, though the caller who led it was dropped.
        assert (await client.post(CHAT, json=BODY)).headers["x-farthing-cache"] == "hit"
        assert len(upstream.requests) == 1


async def test_nothing_is_read_for_a_lone_caller_who_does_not_read(tmp_path):
    async with a_service(tmp_path, reader_timeout_s=0.5) as (edge, house, upstream, _):
        sent = 0

        async def endless(connection, _request):
            nonlocal sent
            await connection.send(HEAD)
            while True:
                await connection.send(EVENT)
                sent += len(EVENT)

        upstream.plays(endless)
        async with who_does_not_read(edge) as stuck:
            await upstream.until(lambda it: len(it.requests) == 1)
            await upstream.closed(upstream.requests[0])
            heard = await read_on(stuck)
        assert len(heard) <= sent < most_in_sockets() + 2**22
        assert re.search(rb'"code":"slow_reader"', heard[heard.rindex(b"data: ") :])
        await house.gateway.aclose()
        (row,) = house.rows("SELECT outcome FROM generations")
        assert row["outcome"] == "aborted"


async def test_a_lone_caller_who_reads_late_is_waited_for(tmp_path):
    async with a_service(tmp_path) as (edge, house, upstream, _):
        upstream.plays(stream(LONG))
        async with who_does_not_read(edge) as late:
            await house.until(lambda: any(flight.outruns_all for flight in house.gateway._flights.values()))
            (flight,) = house.gateway._flights.values()
            assert len(flight.deltas) < len(LONG)
            heard = await read_on(late)
        assert heard.count(PIECE.encode()) == len(LONG)
        assert b"data: [DONE]\n\n" in heard
