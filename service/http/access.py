"""What each operation takes of a caller's role. Who the caller is was settled at the edge.

Generations are not asked here: every key may call, and which models is the router's to say (`Call.allowed_routes`).
"""

from typing import Any, Final

from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler

from ledger.apikeys import Role
from service.http.exchange import exchange_of
from service.http.operations import OPERATIONS
from service.refusals import Forbidden

# {(method, path up to its parameter): the role}, None: anyone's, without a key too.
_ROLES: Final[dict[tuple[str, str], Role | None]] = {
    (operation.method.upper(), operation.path.partition("{")[0]): operation.role for operation in OPERATIONS
}
_ANYONES: Final = frozenset(path for (_, path), role in _ROLES.items() if role is None)
_ANYONES_BELOW: Final = tuple(path for path in _ANYONES if path.endswith("/") and path != "/")


def is_anyones(path: str) -> bool:
    """Whether this path is answered without a look at who asks."""
    return path in _ANYONES or path.startswith(_ANYONES_BELOW)


def role_for(method: str, template: str) -> Role | None:
    """The role that an operation takes; None: none at all. One that is not documented is for admins."""
    return _ROLES.get((method, template.partition("{")[0]), "admin")


def check_role(connection: ASGIConnection[Any, Any, Any, Any], _handler: BaseRouteHandler) -> None:
    """Raise Forbidden unless the caller may do this. Litestar asks it before each of its handlers."""
    scope: Any = connection.scope
    if scope["method"] == "OPTIONS":
        return  # It only names the methods.
    role = role_for(scope["method"], scope["path_template"])
    caller = exchange_of(scope).caller
    if role is not None and not caller.may(role):
        raise Forbidden(f"This takes a key of the role {role}; this one's role is {caller.role}.")
