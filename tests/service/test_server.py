"""The server on a socket of ours: it answers there, and the socket stays ours to close."""

import asyncio
import gc
import os
import socket

from service.app import create_app
from service.parts import Limits
from service.server import SocketServer, listen
from tests.service.http.scripted import Edge, raw_exchange


async def test_a_server_that_is_gone_has_left_the_socket_to_its_owner():
    with listen("127.0.0.1", 0) as listening:
        server = SocketServer(create_app(Edge(Limits()).parts), listening, max_connections=10)
        serving = asyncio.create_task(server.serve())
        request = b"GET /health/live HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"
        assert (await raw_exchange(listening.getsockname()[1], request)).startswith(b"HTTP/1.1 200 OK")
        server.stop()
        await serving
        del server, serving
        gc.collect()
        os.fstat(listening.fileno())  # Else whatever file has its number by now would be closed in its place.


def test_a_worker_that_starts_lets_no_other_block_on_the_socket_that_they_share():
    with listen("127.0.0.1", 0) as listening, socket.socket(fileno=os.dup(listening.fileno())) as inherited:
        server = SocketServer(create_app(Edge(Limits()).parts), inherited, max_connections=10)
        server._init_shared_socket()
        assert not os.get_blocking(listening.fileno())
