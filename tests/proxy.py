"""A small HTTP proxy that keeps what it was asked: it connects (RFC 9110 §9.3.6), and passes plain text on."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit


class Proxy:
    """heads: the head of each request, as it came. refuses: it answers 403 instead of asking anybody."""

    def __init__(self) -> None:
        self.heads: list[str] = []
        self.refuses = False
        self.url = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, to its end."""
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            self.heads.append(head.decode())
            method, target, _ = head.split(b" ", 2)
            if self.refuses:
                writer.write(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n")
            elif method == b"CONNECT":
                await self._tunnel(target.decode(), b"", reader, writer)
            else:
                parts = urlsplit(target.decode())
                await self._tunnel(parts.netloc, head.replace(target, parts.path.encode(), 1), reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            return  # The client has left.
        finally:
            writer.close()

    async def _tunnel(
        self, address: str, first: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        host, _, port = address.rpartition(":")
        there, out = await asyncio.open_connection(host, int(port))
        if first:
            out.write(first)
        else:
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        try:
            await asyncio.gather(_copy(reader, out), _copy(there, writer))
        finally:
            out.close()


@asynccontextmanager
async def a_proxy() -> AsyncIterator[Proxy]:
    """One on a free port."""
    proxy = Proxy()
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    proxy.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield proxy
    finally:
        server.close()


async def _copy(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    try:
        while chunk := await source.read(1 << 16):
            sink.write(chunk)
            await sink.drain()
    except ConnectionError:
        return  # One side is gone, and so the tunnel is.
    finally:
        sink.close()
