"""API keys as the ledger keeps them: who may call, as what, within which limits. Their secrets are nowhere in it."""

from typing import Final, Literal

import msgspec

from ledger.ceilings import Ceiling
from ledger.errors import LedgerError

Role = Literal["caller", "reader", "admin"]
# Each may do what those before it may.
ROLES: Final[tuple[Role, ...]] = ("caller", "reader", "admin")


class ApiKey(msgspec.Struct, frozen=True, kw_only=True):
    """One key, as anybody who administers keys may see it. Moments in milliseconds UTC.

    team empty: none. routes: the names of models that it may ask for, sorted; empty: all. ceilings: those it was made
    with, all of the scope `key:ID`. expires_at_ms None: never. revoked_at_ms None: it is not.
    """

    key_id: str
    name: str
    team: str
    role: Role
    routes: tuple[str, ...]
    ceilings: tuple[Ceiling, ...]
    created_at_ms: int
    expires_at_ms: int | None = None
    revoked_at_ms: int | None = None

    def is_in_force(self, now_ms: int) -> bool:
        """Whether it is neither revoked nor expired."""
        return self.revoked_at_ms is None and (self.expires_at_ms is None or self.expires_at_ms > now_ms)

    @property
    def scope(self) -> str:
        """Under which name ceilings count what is spent with it."""
        return f"key:{self.key_id}"


class KeptKey(msgspec.Struct, frozen=True, kw_only=True):
    """A key, and what its secret is recognised by. digest: 32 bytes, HMAC-SHA-256 of the secret under the pepper.

    pepper_id: which pepper that was; it says nothing about it.
    """

    key: ApiKey
    digest: bytes
    pepper_id: str


class ApiKeyOver(LedgerError):
    """The key that a call came with was revoked or has expired since. Nothing was written."""

    code = "unauthenticated"

    def __init__(self, key_id: str) -> None:
        super().__init__(key_id)
        self.key_id = key_id


class PepperDiffers(LedgerError):
    """Keys in force here were made under another pepper, so that nobody could tell all of them. Nothing was written."""

    code = "pepper_differs"
