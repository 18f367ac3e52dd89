"""A new key from what somebody wishes for, and keys as they are shown: the same for `farthing keys` and `/keys`."""

import re
from collections.abc import Callable
from typing import Any, Final, get_args

import msgspec

from ledger.apikeys import ROLES, ApiKey, Role
from ledger.ceilings import Ceiling, Unit, Window
from ledger.money import amount_fields
from ledger.reports import LAST_MS, OutOfTime, iso, parse_moment, parse_span_ms
from router.deployments import Route
from service.auth.secret import Secret
from service.config.limits import each_of, limit_of
from service.config.model import CeilingSection

MAX_NAME_CHARS: Final = 256
_NO_SUCH_YEAR: Final = f"must be no later than {iso(LAST_MS)}; leave it out for a key without an end"
WINDOWS: Final[tuple[Window, ...]] = get_args(Window)
# Dollars where no unit is named.
_CEILING: Final = re.compile(r"(\$?)([0-9.]+)(?:\s*([a-z]+))??\s*(?:/|\s+a\s+|\s+per\s+)\s*([a-z]+)")
UNITS: Final[tuple[Unit, ...]] = get_args(Unit)
_UNITS: Final[dict[str, Unit]] = {**{unit: unit for unit in UNITS}, "token": "tokens", "call": "calls"}


class KeyWish(msgspec.Struct, frozen=True, kw_only=True):
    """A key as it is asked for. expires: `30d` from now, or ISO 8601.

    ceilings: an amount and a window, as people write them: `50/month` in dollars, `100000 tokens/minute`,
    `60 calls/minute`; `$50.00 a month` and `60 calls per minute` are the same.
    """

    name: str
    team: str = ""
    role: str = "caller"
    ceilings: tuple[str, ...] = ()
    routes: tuple[str, ...] = ()
    expires: str = ""


class WrongWish(Exception):
    """A key that cannot be. field: what is wrong; the text says how it would be right."""

    def __init__(self, field: str, text: str) -> None:
        super().__init__(text)
        self.field = field
        self.text = text


def new_key(wish: KeyWish, secret: Secret, *, resolve: Callable[[str], Route], now_ms: int) -> ApiKey:
    """The key that this wish is for. resolve: finds a route by its name. Raises WrongWish, and what `resolve` does."""
    return ApiKey(
        key_id=secret.key_id,
        name=_name("name", wish.name, least=1),
        team=_name("team", wish.team, least=0),
        role=_role(wish.role),
        # By the names that calls are resolved to: an alias of a provider's is not another model.
        routes=tuple(sorted({resolve(name).name for name in wish.routes})),
        ceilings=_ceilings(wish.ceilings, f"key:{secret.key_id}"),
        created_at_ms=now_ms,
        expires_at_ms=_expiry_ms(wish.expires, now_ms) if wish.expires else None,
    )


def key_report(key: ApiKey, now_ms: int) -> dict[str, Any]:
    """A key as it is shown. Its secret is not: nobody has it but its holder."""
    return {
        "id": key.key_id,
        "name": key.name,
        "team": key.team or None,
        "role": key.role,
        "routes": key.routes,
        "ceilings": [
            {
                "scope": ceiling.scope,
                "window": ceiling.window,
                "unit": ceiling.unit,
                **amount_fields({"limit": ceiling.limit}, ceiling.unit),
            }
            for ceiling in key.ceilings
        ],
        "state": state_of(key, now_ms),
        "created_at": iso(key.created_at_ms),
        "expires_at": iso(key.expires_at_ms),
        "revoked_at": iso(key.revoked_at_ms),
    }


def state_of(key: ApiKey, now_ms: int) -> str:
    """In a word."""
    if key.revoked_at_ms is not None:
        return "revoked"
    return "in force" if key.is_in_force(now_ms) else "expired"


def _name(field: str, text: str, *, least: int) -> str:
    if not least <= len(text) <= MAX_NAME_CHARS or not text.isprintable() or text != text.strip():
        raise WrongWish(field, f"must be {least} to {MAX_NAME_CHARS} printable characters, without blanks around them")
    return text


def _role(text: str) -> Role:
    for role in ROLES:
        if role == text:
            return role
    raise WrongWish("role", f"must be one of {', '.join(ROLES)}")


def _ceilings(texts: tuple[str, ...], scope: str) -> tuple[Ceiling, ...]:
    found: dict[tuple[Window, Unit], Ceiling] = {}
    for text in texts:
        ceiling = _ceiling(text, scope)
        what = (ceiling.window, ceiling.unit)
        if what in found:
            raise WrongWish("ceilings", f"there are two {each_of(*what)}")
        found[what] = ceiling
    return tuple(sorted(found.values(), key=lambda it: (it.window, UNITS.index(it.unit))))


def _ceiling(text: str, scope: str) -> Ceiling:
    match = _CEILING.fullmatch(text.strip())
    dollar, amount, named, window = ("", "", None, "") if match is None else match.groups()
    unit = _UNITS.get(named or "usd")
    if window not in WINDOWS or unit is None or (dollar and unit != "usd"):
        examples = "50/month (dollars), 100000 tokens/minute, 60 calls/minute"
        raise WrongWish("ceilings", f"{text!r} is none: write {examples}; windows are {', '.join(WINDOWS)}")
    try:
        limit = limit_of(CeilingSection(scope=scope, window=window, unit=unit, limit=amount))
    except ValueError as error:
        raise WrongWish("ceilings", str(error)) from error
    return Ceiling(scope=scope, window=window, unit=unit, limit=limit)


def _expiry_ms(text: str, now_ms: int) -> int:
    try:
        span_ms = parse_span_ms(text)
        expires_at_ms = parse_moment(text, now_ms) if span_ms is None else now_ms + span_ms
    except OutOfTime as error:
        raise WrongWish("expires", _NO_SUCH_YEAR) from error
    except ValueError as error:
        raise WrongWish(
            "expires", "must be a span like 30d, or a moment like 2027-01-01 or 2027-01-01T09:00:00Z"
        ) from error
    if expires_at_ms <= now_ms:
        raise WrongWish("expires", "must be in the future")
    if expires_at_ms > LAST_MS:
        raise WrongWish("expires", _NO_SUCH_YEAR)
    return expires_at_ms
