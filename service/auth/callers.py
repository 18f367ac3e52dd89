"""The caller that a request is answered as, and what each role may."""

from typing import Final

import msgspec

from ledger.apikeys import ROLES, ApiKey, Role


class Caller(msgspec.Struct, frozen=True, kw_only=True):
    """Who asks. key_id empty: nobody in particular, who came without a key. routes empty: any model."""

    role: Role
    key_id: str = ""
    key_name: str = ""
    team: str = ""
    routes: tuple[str, ...] = ()

    @property
    def is_anonymous(self) -> bool:
        """Whether nothing but the place from where it asks speaks for it."""
        return not self.key_id

    def may(self, role: Role) -> bool:
        """Whether it may do what this role may."""
        return ROLES.index(self.role) >= ROLES.index(role)


# Without keys, whoever is on this machine may do everything.
ANONYMOUS: Final = Caller(role="admin")


def caller_of(key: ApiKey) -> Caller:
    """Whoever shows this key."""
    return Caller(role=key.role, key_id=key.key_id, key_name=key.name, team=key.team, routes=key.routes)
