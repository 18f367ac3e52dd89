"""What the driver raises, and what that is in the ledger's words: the border of asyncpg, in one place."""

import os
from typing import Final

import asyncpg

from ledger.database import RuleBroken

# Classes of SQLSTATE by which a statement is refused for what is in it. Source: PostgreSQL, appendix A.
_REFUSALS: Final = ("22", "23")
_LOST: Final = "08"
# What the driver raises. Its DataError, for a value that no such column holds, is an InterfaceError and a ValueError.
# InternalClientError is what it says of a server that took its leave between two messages.
DRIVER_ERRORS: Final = (
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    OSError,
    OverflowError,
    UnicodeError,
)


class ServerFailed(ConnectionError):
    """The server did not do what it was asked for a reason of its own. sqlstate None: it did not answer."""

    def __init__(self, words: str, sqlstate: str | None = None) -> None:
        super().__init__(words)
        self.sqlstate = sqlstate


def told(error: Exception) -> Exception:
    """A driver's exception in the ledger's words. A value of ours may be in a server's detail, which is left out."""
    if isinstance(error, asyncpg.PostgresError):
        words, sqlstate = error.args[0], error.sqlstate
        if sqlstate.startswith(_LOST):
            return ServerFailed(words)
        return RuleBroken(words) if sqlstate[:2] in _REFUSALS else ServerFailed(f"{words} ({sqlstate})", sqlstate)
    if isinstance(error, ValueError | OverflowError):
        return RuleBroken("a value does not fit its column")
    if isinstance(error, TimeoutError):
        return ServerFailed("the server does not answer")
    return ServerFailed(f"the connection was lost ({type(error).__name__})")


def unreached(error: Exception) -> Exception:
    """As `told`, of a connection that was never there: in the system's words, without the driver's."""
    if not isinstance(error, OSError) or isinstance(error, TimeoutError):
        return told(error)
    number = error.errno or 0  # Of a name that is not found it is below 0, and no system's.
    words = os.strerror(number) if number > 0 else error.strerror or type(error).__name__
    return ServerFailed(f"no connection ({words})")
