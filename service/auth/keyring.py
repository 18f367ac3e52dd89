"""Finds the caller behind a key, and makes and revokes keys."""

import hmac
import logging
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from typing import Final, Protocol

from ledger.apikeys import ApiKey, KeptKey
from ledger.pepper import VARIABLE, Pepper, open_pepper
from service.auth.callers import ANONYMOUS, Caller, caller_of
from service.auth.presented import presented
from service.auth.secret import Secret, parse_secret
from service.clock import now_ms
from service.config import Config
from service.config.rules import needs_keys
from service.refusals import Unauthenticated, WhyNot
from service.requests import Headers

MAX_KNOWN: Final = 10_000
# What the secret of no key comes to: compared with where there is no key, so that this takes as long.
_NOBODYS: Final = bytes(32)

log = logging.getLogger(__name__)


class KeyStore(Protocol):
    """The API keys of a ledger. All raise LedgerUnavailable."""

    async def api_keys(self) -> list[ApiKey]:
        """Every key there ever was, the oldest first."""

    async def find_api_key(self, key_id: str) -> KeptKey | None:
        """The key as of now."""

    async def create_api_key(self, kept: KeptKey) -> None:
        """Put it on record. Raises PepperDiffers."""

    async def revoke_api_key(self, key_id: str) -> ApiKey | None:
        """Revoke it, for all processes, at once."""


class Keyring:
    """The keys of one ledger, as one process knows them.

    A key never changes but by being revoked, so those seen before are remembered. Whoever revokes one in another
    process is obeyed all the same: a call's admission asks the ledger (`AdmitRequest.api_key`), and whatever admits
    nothing has its caller found afresh.

    open_pepper: called when the first secret is to be checked. are_needed: nobody is answered without a key.
    """

    def __init__(
        self, store: KeyStore, open_pepper: Callable[[], Pepper], *, are_needed: bool, now_ms: Callable[[], int]
    ) -> None:
        self._store = store
        self._open_pepper = open_pepper
        self._now_ms = now_ms
        self._pepper: Pepper | None = None
        self._known: dict[str, KeptKey] = {}
        self.are_needed = are_needed

    async def caller(self, headers: Headers, *, afresh: bool) -> Caller:
        """Whose request this is. afresh: ask the ledger, whatever is remembered. Raises Unauthenticated."""
        text = presented(headers)
        if text is None:
            if self.are_needed:
                raise Unauthenticated(WhyNot.MISSING)
            return ANONYMOUS
        secret = parse_secret(text)
        if secret is None:
            raise Unauthenticated(WhyNot.UNKNOWN)
        return caller_of(await self._checked(secret, afresh=afresh))

    async def create(self, key: ApiKey, secret: Secret) -> None:
        """Put a new key on record. Raises PepperDiffers."""
        pepper = self._opened()
        await self._store.create_api_key(
            KeptKey(key=key, digest=pepper.digest(secret.text), pepper_id=pepper.pepper_id)
        )

    async def revoke(self, key_id: str) -> ApiKey | None:
        """Revoke a key; a second time changes nothing. None: there is no such key."""
        self.forget(key_id)
        return await self._store.revoke_api_key(key_id)

    async def keys(self) -> Sequence[ApiKey]:
        """Every key there ever was, the oldest first."""
        return await self._store.api_keys()

    async def is_empty(self) -> bool:
        """Whether there is no key with which anybody could ask."""
        now_ms = self._now_ms()
        return not any(key.is_in_force(now_ms) for key in await self.keys())

    def forget(self, key_id: str) -> None:
        """The ledger says that it is over."""
        self._known.pop(key_id, None)

    async def _checked(self, secret: Secret, *, afresh: bool) -> ApiKey:
        """The key of this secret. A wrong secret costs what an unknown key does: one look, and one comparison."""
        digest = self._opened().digest(secret.text)
        kept = None if afresh else self._known.get(secret.key_id)
        if kept is None or not hmac.compare_digest(kept.digest, digest):
            kept = await self._store.find_api_key(secret.key_id)
            is_right = hmac.compare_digest(_NOBODYS if kept is None else kept.digest, digest)
            if kept is None or not is_right:
                self._tell_of_pepper(kept)
                raise Unauthenticated(WhyNot.UNKNOWN)
        key = kept.key
        if not key.is_in_force(self._now_ms()):
            self.forget(key.key_id)
            raise Unauthenticated(WhyNot.EXPIRED if key.revoked_at_ms is None else WhyNot.REVOKED)
        self._remember(kept)
        return key

    def _remember(self, kept: KeptKey) -> None:
        if kept.key.key_id not in self._known and len(self._known) >= MAX_KNOWN:
            del self._known[next(iter(self._known))]
        self._known[kept.key.key_id] = kept

    def _tell_of_pepper(self, kept: KeptKey | None) -> None:
        if kept is not None and kept.pepper_id != self._opened().pepper_id:
            log.warning(
                "key %s was made under another pepper than this service has: see FARTHING_PEPPER", kept.key.key_id
            )

    def _opened(self) -> Pepper:
        if self._pepper is None:
            self._pepper = self._open_pepper()
        return self._pepper


def open_keyring(config: Config, ledger: KeyStore, environ: Mapping[str, str]) -> Keyring:
    """The keys of this ledger. Where nobody is answered without one, their pepper is made sure of at once.

    Raises NotALedger.
    """
    pepper = cache(partial(open_pepper, config.ledger.url, environ.get(VARIABLE)))
    are_needed = needs_keys(config.server)
    if are_needed:
        pepper()
    return Keyring(ledger, pepper, are_needed=are_needed, now_ms=now_ms)
