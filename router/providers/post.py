"""One message posted to an address that is no provider's, over the same way out and with the same errors.

It is here because whoever reaches out over HTTP is: what the transport promises of TLS, redirects (none), proxies
(none) and cancelling holds for it, too.
"""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import aclosing, asynccontextmanager
from typing import Final, Protocol

import httpx
import msgspec

from router.faults import Fault, Outcome
from router.providers.client import chunks_of, fault_of, read_to_the_end
from router.providers.transport import open_transport
from router.ratelimit import retry_after_s

CONNECTIONS: Final = 32
CONNECT_S: Final = 5.0


class Posted(msgspec.Struct, frozen=True):
    """The status of a whole answer, whatever it is, and how long it asks to be left alone. Its body is not kept."""

    status: int
    retry_after_s: float | None = None


class Post(Protocol):
    """Sends one message."""

    async def __call__(self, url: str, body: bytes, headers: Mapping[str, str]) -> Posted:
        """POST it, once. Raises Fault where no answer came: its message names the host at most.

        Time is the caller's.
        """


def post_over(transport: httpx.AsyncBaseTransport, *, clock_ms: Callable[[], int]) -> Post:
    """A way to post. clock_ms: wall time, for an answer that names a moment to come back at."""

    async def post(url: str, body: bytes, headers: Mapping[str, str]) -> Posted:
        try:
            request = httpx.Request(
                "POST", url, headers=headers, content=body, extensions={"timeout": {"connect": CONNECT_S}}
            )
            response = await transport.handle_async_request(request)
            async with aclosing(response):
                await read_to_the_end(chunks_of(response))
                return Posted(response.status_code, retry_after_s(response.headers, now_ms=clock_ms()))
        except httpx.TransportError as error:
            raise fault_of(error, None) from error
        except httpx.InvalidURL as error:
            raise Fault(Outcome.CONNECT_FAILED, "the address is not valid", sent=False) from error

    return post


@asynccontextmanager
async def open_post(*, clock_ms: Callable[[], int]) -> AsyncIterator[Post]:
    """A way to post with connections of its own."""
    async with open_transport(limit=CONNECTIONS) as transport:
        yield post_over(transport, clock_ms=clock_ms)
