"""Whom the place they ask from speaks for, where no key has to. A web page must not pass for somebody on this machine.

A page in a browser can send requests here, but not choose their Host and Origin: foreign ones are turned away, which
also defeats DNS rebinding. Whoever shows a key is known by it alone: a browser adds no key of its own accord, so there
is nothing for a page to abuse, and the service may go by any name. No answer lets a page of another origin read it.
"""

import ipaddress
from typing import Final

from service.refusals import Forbidden
from service.requests import Headers

_LOOPBACK_NAMES: Final = frozenset({b"localhost", b"127.0.0.1", b"[::1]"})


def check_host(headers: Headers, configured_host: str) -> None:
    """Raise Forbidden unless Host and any Origin are our own."""
    host = headers.get(b"host", b"").lower()
    name = _without_port(host)
    if name not in _LOOPBACK_NAMES and name != configured_host.lower().encode() and not _is_loopback_address(name):
        raise Forbidden(
            "Without a key this service answers to loopback names only: http://localhost, http://127.0.0.1."
        )
    origin = headers.get(b"origin")
    if origin is not None and origin.lower() not in {b"http://" + host, b"https://" + host}:
        raise Forbidden(
            "Requests of pages from other origins are not answered: ask from a program, or from this service's page."
        )


def _without_port(host: bytes) -> bytes:
    if host.startswith(b"["):
        return host.partition(b"]")[0] + b"]"
    return host.partition(b":")[0]


def _is_loopback_address(name: bytes) -> bool:
    if not name.startswith(b"127."):
        return False
    try:
        return ipaddress.IPv4Address(name.decode("ascii", "replace")).is_loopback
    except ValueError:
        return False
