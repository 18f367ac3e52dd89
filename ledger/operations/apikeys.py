"""API keys in their tables: made, found, revoked. Each function is part of one transaction."""

from typing import Any, Final

from ledger.apikeys import ApiKey, ApiKeyOver, KeptKey, PepperDiffers
from ledger.ceilings import UNIT_OF, Ceiling
from ledger.database import Database
from ledger.sql import statements

SQL: Final = statements("sqlite", "apikeys")


def create_key(db: Database, kept: KeptKey) -> bool:
    """Put a key on record, with its ceilings. False: it is there already. Raises PepperDiffers."""
    key = kept.key
    before = find_key(db, key_id=key.key_id)
    if before is not None:
        assert before.digest == kept.digest, "a key's id was used for two different keys"
        return False
    if db.execute(SQL["other_pepper"], {"pepper_id": kept.pepper_id, "now_ms": key.created_at_ms}).fetchone():
        raise PepperDiffers
    row = {
        "key_id": key.key_id,
        "digest": kept.digest,
        "pepper_id": kept.pepper_id,
        "name": key.name,
        "team": key.team,
        "role": key.role,
        "created_at_ms": key.created_at_ms,
        "expires_at_ms": key.expires_at_ms,
    }
    db.execute(SQL["create_key"], row)
    db.executemany(SQL["allow_route"], [{"key_id": key.key_id, "route": route} for route in key.routes])
    for ceiling in key.ceilings:
        limit = {"window": ceiling.window, "counts": ceiling.counts, "limit_amount": ceiling.limit}
        db.execute(SQL["limit_key"], {"key_id": key.key_id, **limit})
    return True


def find_key(db: Database, *, key_id: str) -> KeptKey | None:
    """The key of this id, also one that was revoked. None: there never was one."""
    row = db.execute(SQL["find_key"], {"key_id": key_id}).fetchone()
    return None if row is None else _kept(db, row)


def all_keys(db: Database) -> list[ApiKey]:
    """Every key there ever was, the oldest first."""
    return [_kept(db, row).key for row in db.execute(SQL["all_keys"]).fetchall()]


def check_key(db: Database, key_id: str, *, now_ms: int) -> None:
    """Raise ApiKeyOver unless the key is in force at this moment of the ledger. Empty: no key, nothing to check."""
    if key_id and not is_in_force(db, key_id, now_ms=now_ms):
        raise ApiKeyOver(key_id)


def is_in_force(db: Database, key_id: str, *, now_ms: int) -> bool:
    """Whether there is such a key, and it is neither revoked nor expired."""
    return db.execute(SQL["is_in_force"], {"key_id": key_id, "now_ms": now_ms}).fetchone() is not None


def revoke_key(db: Database, *, key_id: str, now_ms: int) -> ApiKey | None:
    """The key, revoked now or before. None: there never was one."""
    db.execute(SQL["revoke_key"], {"key_id": key_id, "now_ms": now_ms})
    kept = find_key(db, key_id=key_id)
    return None if kept is None else kept.key


def key_ceilings(db: Database, *, now_ms: int) -> tuple[Ceiling, ...]:
    """The ceilings that come with the keys in force."""
    return tuple(map(_ceiling, db.execute(SQL["ceilings_in_force"], {"now_ms": now_ms})))


def _ceiling(row: tuple[Any, ...]) -> Ceiling:
    key_id, window, counts, limit = row
    return Ceiling(scope=f"key:{key_id}", window=window, unit=UNIT_OF[counts], limit=limit)


def _kept(db: Database, row: tuple[Any, ...]) -> KeptKey:
    key_id, digest, pepper_id, name, team, role, created_at_ms, expires_at_ms, revoked_at_ms = row
    routes = db.execute(SQL["routes_of_key"], {"key_id": key_id})
    limits = db.execute(SQL["ceilings_of_key"], {"key_id": key_id})
    key = ApiKey(
        key_id=key_id,
        name=name,
        team=team,
        role=role,
        routes=tuple(route for (route,) in routes),
        ceilings=tuple(map(_ceiling, limits)),
        created_at_ms=created_at_ms,
        expires_at_ms=expires_at_ms,
        revoked_at_ms=revoked_at_ms,
    )
    return KeptKey(key=key, digest=digest, pepper_id=pepper_id)
