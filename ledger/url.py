"""Where a ledger is kept, by its URL: `sqlite:PATH`, or `postgresql://…`, which may hold a password."""

from pathlib import Path
from typing import TYPE_CHECKING

from ledger.errors import NotALedger

if TYPE_CHECKING:
    from ledger.postgres.address import Address


def is_on_server(url: str) -> bool:
    """Whether a ledger is in a server's database, and not in a file of this machine."""
    return url.partition(":")[0] in {"postgresql", "postgres"}


def path_of(url: str) -> Path:
    """The file's. Raises NotALedger, which does not repeat an address that may be another server's."""
    scheme, _, path = url.partition(":")
    if scheme != "sqlite" or not path:
        raise NotALedger(
            f"{scheme!r} names no ledger: write it like sqlite:farthing.db, or postgresql://user@host/database"
        )
    return Path(path)


def server_of(url: str) -> "Address":
    """The server's address. Raises NotALedger, also where the packages for it are missing.

    So it is asked for before anything of `ledger.postgres` is imported.
    """
    try:
        from ledger.postgres.address import address_of
    except ImportError as error:
        raise NotALedger("a ledger on PostgreSQL needs more packages: pip install 'farthing[postgres]'") from error
    return address_of(url)
