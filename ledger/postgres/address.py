"""Where the server is: `postgresql://user:password@host:port/database`. Whatever else it holds may be a secret."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final
from urllib.parse import parse_qsl, urlencode, urlsplit

import asyncpg
import msgspec

from ledger.errors import NotALedger

# Our own part of the address, under the driver's name for it: 0 where a pooler gives each transaction another
# connection and does not carry prepared statements over.
_CACHE: Final = "statement_cache_size"
_FINAL: Final = {
    "28000": "the server does not let this user in: see its pg_hba.conf",
    "28P01": "the server does not accept this password",
    "3D000": "there is no such database on the server: make it with `createdb`",
}


class Address(msgspec.Struct, frozen=True):
    """A database on a server. dsn: as the driver takes it; shown: what people may see of it.

    keeps_statements: whether a connection may prepare statements for later.
    """

    dsn: str
    shown: str
    keeps_statements: bool = True

    def __repr__(self) -> str:
        return self.shown

    @contextmanager
    def refusals(self) -> Iterator[None]:
        """Raise NotALedger for what trying again does not mend; other exceptions pass."""
        try:
            yield
        except asyncpg.PostgresError as error:
            words = _FINAL.get(error.sqlstate)
            if words is None:
                raise
            raise NotALedger(f"{self.shown} cannot be used as a ledger: {words}") from error
        except (asyncpg.exceptions.ClientConfigurationError, ValueError) as error:
            # Its words may hold a part of the address.
            raise NotALedger(f"{self.shown} cannot be used as a ledger: the address is not one") from error


def address_of(url: str) -> Address:
    """Raises NotALedger, which does not repeat the address."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise NotALedger("the ledger's address is none: write it like postgresql://user@host/database") from error
    asked = dict(parse_qsl(parts.query, keep_blank_values=True))
    keeps_statements = asked.pop(_CACHE, "1") != "0"
    host = parts.hostname or asked.get("host", "")
    shown = f"postgresql://{host}{f':{port}' if port else ''}{parts.path}"
    dsn = url.partition("?")[0] + (f"?{urlencode(asked)}" if asked else "")
    return Address(dsn, shown, keeps_statements)
