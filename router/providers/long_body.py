"""Long bodies on their way out, piece by piece."""

import asyncio
from typing import Final

from aiohttp import Payload
from aiohttp.abc import AbstractStreamWriter

PIECE_BYTES: Final = 65_536


class LongBody(Payload):
    """A body that aiohttp writes in pieces, between which others have their turn.

    What it does itself with a long one takes the event loop milliseconds in one step: given as bytes, it hands over the
    whole of it; given as a file in memory, it copies the whole to learn how long it is.
    """

    def __init__(self, body: bytes) -> None:
        super().__init__(body)
        self._size = len(body)

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        """The body as text."""
        body: bytes = self._value
        return body.decode(encoding, errors)

    async def write(self, writer: AbstractStreamWriter) -> None:
        """Write all of it: its length is always told."""
        body = memoryview(self._value)
        for begins in range(0, len(body), PIECE_BYTES):
            if begins:
                # A write does not wait while the system takes what is written.
                await asyncio.sleep(0)
            await writer.write(body[begins : begins + PIECE_BYTES])
