"""Where the cache server is: `valkey://user:password@host:port/database`. Whatever else it holds may be a secret."""

from typing import Final
from urllib.parse import unquote, urlsplit

import msgspec

# {scheme: whether it speaks TLS}. Both servers speak one protocol.
SCHEMES: Final = {"valkey": False, "valkeys": True, "redis": False, "rediss": True, "unix": False}
DEFAULT_PORT: Final = 6379
MOST_DATABASES: Final = 1 << 31


class NotACacheServer(ValueError):
    """The address is none. Its words say what to write, and do not repeat it."""


class CacheServerAddress(msgspec.Struct, frozen=True, kw_only=True):
    """A database on a cache server: at a host, or at a socket of this machine. shown: what people may see of it."""

    host: str = ""
    port: int = DEFAULT_PORT
    socket: str = ""
    tls: bool = False
    database: int = 0
    username: str | None = None
    password: str | None = None
    shown: str = ""

    def __repr__(self) -> str:
        return self.shown


def cache_server_of(url: str) -> CacheServerAddress:
    """Raises NotACacheServer, which does not repeat the address."""
    try:
        parts = urlsplit(url)
        port = parts.port or DEFAULT_PORT
    except ValueError:
        raise NotACacheServer("must be an address, written valkey://host:6379") from None
    tls = SCHEMES.get(parts.scheme)
    if tls is None:
        raise NotACacheServer("must begin with " + ", ".join(f"{scheme}://" for scheme in SCHEMES))
    if parts.query or parts.fragment:
        raise NotACacheServer("takes nothing after the database: write it like valkey://user:password@host:6379/0")
    username = unquote(parts.username) if parts.username else None
    password = unquote(parts.password) if parts.password else None
    if parts.scheme == "unix":
        if parts.hostname or not parts.path.strip("/"):
            raise NotACacheServer("must name a socket, written unix:///run/valkey/valkey.sock")
        path = unquote(parts.path)
        return CacheServerAddress(socket=path, shown=f"unix://{path}", username=username, password=password)
    if not parts.hostname:
        raise NotACacheServer("must name a host, written valkey://host:6379")
    number = parts.path.strip("/") or "0"
    if not (number.isascii() and number.isdecimal() and int(number) < MOST_DATABASES):
        raise NotACacheServer("must end with the number of a database, or with the port: valkey://host:6379/0")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    shown = f"{parts.scheme}://{host}:{port}/{int(number)}"
    return CacheServerAddress(
        host=parts.hostname, port=port, tls=tls, database=int(number), shown=shown, username=username, password=password
    )
