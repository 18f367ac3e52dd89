"""What aiohttp raises, in httpx's words, on which money depends: the border of both, in one place."""

import os
from typing import Final

import aiohttp
import httpx

from router.providers.direct import ClosedUnused, NotHttp

# The first line that fits. None: why a connection was not made, in the system's words. aiohttp's own name addresses of
# the network behind us, or repeat the response: neither is a caller's to know.
_TRANSLATIONS: Final[tuple[tuple[type[Exception], type[httpx.TransportError], str | None], ...]] = (
    # These are raised while connecting, before a request is written: a name, a route, a refusal, a TLS handshake.
    (aiohttp.ConnectionTimeoutError, httpx.ConnectTimeout, "no connection in time"),
    (aiohttp.ClientConnectorCertificateError, httpx.ConnectError, "cannot connect: its certificate is not trusted"),
    (aiohttp.ClientConnectorDNSError, httpx.ConnectError, "cannot connect: its name leads to no address"),
    (aiohttp.ClientConnectorSSLError, httpx.ConnectError, "cannot connect: the TLS handshake failed"),
    (aiohttp.ClientConnectorError, httpx.ConnectError, None),
    (aiohttp.ClientHttpProxyError, httpx.ConnectError, "the proxy did not connect to the server"),
    (ClosedUnused, httpx.ConnectError, "the server closed the connection before the request was sent"),
    (aiohttp.InvalidURL, httpx.LocalProtocolError, "the URL is not valid"),
    # From here on the request may have been read.
    (aiohttp.ServerDisconnectedError, httpx.RemoteProtocolError, "the server closed the connection without an answer"),
    (aiohttp.ClientPayloadError, httpx.RemoteProtocolError, "the response broke off"),
    (aiohttp.ClientResponseError, httpx.RemoteProtocolError, "the response is not valid HTTP"),
    (NotHttp, httpx.RemoteProtocolError, "the response is not valid HTTP"),
    (TimeoutError, httpx.ReadTimeout, "the server was silent for too long"),
    (Exception, httpx.ReadError, "the connection broke off"),
)


def translated(error: Exception) -> httpx.TransportError:
    """As httpx would say it. Which kinds prove that nothing was sent, the text of `transport` says."""
    kind, words = next((kind, words) for known, kind, words in _TRANSLATIONS if isinstance(error, known))
    return kind(words or _why_not_connected(error))


def _why_not_connected(error: Exception) -> str:
    number = error.os_error.errno if isinstance(error, aiohttp.ClientConnectorError) else None
    return f"cannot connect: {os.strerror(number).lower()}" if number else "the connection was not made"
