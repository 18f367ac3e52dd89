"""Who may ask at all. Without keys a caller is trusted for being on this machine, so a web page must not pass for one.

A page in a browser can send requests here, but not choose their Host and Origin: foreign ones are turned away, which
also defeats DNS rebinding.
"""

import ipaddress
from typing import Final

from service.refusals import Forbidden, Unauthenticated
from service.requests import Headers

_LOOPBACK_NAMES: Final = frozenset({b"localhost", b"127.0.0.1", b"[::1]"})
_OUR_KEYS: Final = b"fk_"


def check_host(headers: Headers, configured_host: str) -> None:
    """Raise Forbidden unless Host and any Origin are our own."""
    host = headers.get(b"host", b"").lower()
    name = _without_port(host)
    if name not in _LOOPBACK_NAMES and name != configured_host.lower().encode() and not _is_loopback_address(name):
        raise Forbidden("This service answers to loopback names only: use http://localhost or http://127.0.0.1.")
    origin = headers.get(b"origin")
    if origin is not None and origin.lower() not in {b"http://" + host, b"https://" + host}:
        raise Forbidden("Requests of pages from other origins are not answered.")


def check_key(headers: Headers) -> None:
    """Raise Unauthenticated for a key of our kind: none exists yet. Other vendors' keys are ignored."""
    authorization = headers.get(b"authorization", b"")
    scheme, _, token = authorization.partition(b" ")
    presented = token.strip() if scheme.lower() == b"bearer" else b""
    if presented.startswith(_OUR_KEYS) or headers.get(b"x-api-key", b"").startswith(_OUR_KEYS):
        raise Unauthenticated


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
