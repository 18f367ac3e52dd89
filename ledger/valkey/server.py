"""A cache server as a place for bodies: asked within a timeout, left alone once it fails, and never believed."""

import asyncio
import logging
import ssl
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, Final, Literal

from valkey.asyncio import BlockingConnectionPool, Connection, SSLConnection, UnixDomainSocketConnection, Valkey
from valkey.asyncio.retry import Retry
from valkey.backoff import NoBackoff
from valkey.exceptions import AuthenticationError, ResponseError

from ledger.bodies import checksum_of
from ledger.valkey.address import CacheServerAddress
from ledger.valkey.pauses import WELL, ask, failed
from ledger.values import StoredElsewhere

PREFIX: Final = "farthing:body:"
CONNECTIONS: Final = 64

Operation = Literal["keep", "find"]
# absent is no fault: the server may drop what it likes. wrong: other bytes than those that were kept. paused: it failed
# a moment ago, and was not asked.
Outcome = Literal["kept", "found", "absent", "wrong", "slow", "unreachable", "refused", "paused"]
Tell = Callable[[Operation, Outcome], None]

_MEANWHILE: Final[dict[Operation, str]] = {
    "keep": "until it does, answers are stored in the ledger",
    "find": "what is stored there is asked for anew",
}

log = logging.getLogger(__name__)


class _NotServed(Exception):
    """The server did not do what it was asked, and its teller has heard why."""


class CacheServer:
    """See `ledger.bodies.Bodies`, which it implements. Made by `open_cache_server`.

    tell: hears how each request went.
    """

    def __init__(self, client: Valkey, *, shown: str, timeout_s: float, tell: Tell) -> None:
        self._client = client
        self._execute: Callable[..., Coroutine[Any, Any, Any]] = client.execute_command
        self._shown = shown
        self._timeout_s = timeout_s
        self._tell = tell
        self._standing = WELL
        self._complained_of: set[Operation] = set()
        self._requests: set[asyncio.Task[Any]] = set()

    async def keep(self, checksum: bytes, body: bytes, *, for_ms: int) -> bool:
        try:
            await self._ask("keep", "SET", _name(checksum), body, "PX", for_ms)
        except _NotServed:
            return False
        self._served("keep", "kept")
        return True

    async def find(self, stored: StoredElsewhere) -> bytes | None:
        try:
            body = await self._ask("find", "GET", _name(stored.checksum))
        except _NotServed:
            return None
        if body is None:
            self._served("find", "absent")
            return None
        if not isinstance(body, bytes) or await checksum_of(stored.cache_key, body) != stored.checksum:
            self._failed("find", "wrong")
            return None
        self._served("find", "found")
        return body

    async def aclose(self) -> None:
        """Let go of the server, after the requests that nobody waits for any more."""
        while self._requests:
            await asyncio.wait(self._requests)
        await self._client.aclose(close_connection_pool=True)

    async def _ask(self, operation: Operation, *command: Any) -> Any:
        """Its answer. Raises _NotServed."""
        asked_at_s = time.monotonic()
        self._standing, may_ask = ask(self._standing, asked_at_s)
        if not may_ask:
            self._tell(operation, "paused")
            raise _NotServed
        try:
            answer = await self._within_timeout(self._execute(*command))
        except Exception as error:  # Whatever is said by a server that is none, or lies.
            # One that answers with a refusal, say because it is full, is neither gone nor slow.
            if not isinstance(error, ResponseError):
                self._standing = failed(self._standing, asked_at_s=asked_at_s, now_s=time.monotonic())
            self._failed(operation, _outcome_of(error), why=_certificates_fault(error))
            raise _NotServed from error
        self._standing = WELL
        return answer

    async def _within_timeout(self, command: Coroutine[Any, Any, Any]) -> Any:
        """Its answer. Raises TimeoutError.

        A task of its own, whose end nobody waits for who leaves: the client closes a connection whose command is
        cancelled, so that no reply is taken for another one's, but may lose a cancel that comes while it connects
        (redis-py 8.1 did, and went on waiting for five seconds).
        """
        request = asyncio.create_task(command)
        self._requests.add(request)
        request.add_done_callback(self._ended)
        try:
            await asyncio.wait([request], timeout=self._timeout_s)
        finally:
            request.cancel()  # Unless it is done.
        if not request.done():
            raise TimeoutError
        return request.result()

    def _ended(self, request: asyncio.Task[Any]) -> None:
        self._requests.discard(request)
        if not request.cancelled():
            request.exception()  # Looked at, for nobody may be left who does.

    def _served(self, operation: Operation, outcome: Outcome) -> None:
        self._tell(operation, outcome)
        if operation in self._complained_of:
            self._complained_of.discard(operation)
            log.info("the cache server at %s serves again (%s)", self._shown, operation)

    def _failed(self, operation: Operation, outcome: Outcome, why: str = "") -> None:
        self._tell(operation, outcome)
        if operation not in self._complained_of:
            self._complained_of.add(operation)
            meanwhile = _MEANWHILE[operation]
            log.warning(
                "the cache server at %s does not serve (%s: %s%s): %s", self._shown, operation, outcome, why, meanwhile
            )


@asynccontextmanager
async def open_cache_server(address: CacheServerAddress, *, timeout_s: float, tell: Tell) -> AsyncIterator[CacheServer]:
    """A cache server for as long as the block runs. It is asked for the first time when something is to be kept."""
    client = Valkey(connection_pool=_pool(address, timeout_s))
    server = CacheServer(client, shown=address.shown, timeout_s=timeout_s, tell=tell)
    try:
        yield server
    finally:
        await server.aclose()


def _pool(address: CacheServerAddress, timeout_s: float) -> BlockingConnectionPool:
    """At most CONNECTIONS of them, made when they are needed. What fails is tried again after a pause, not here."""
    place: dict[str, Any] = {"host": address.host, "port": address.port}
    kind: type[Connection | SSLConnection | UnixDomainSocketConnection] = Connection
    if address.socket:
        place, kind = {"path": address.socket}, UnixDomainSocketConnection
    elif address.tls:
        kind, place = SSLConnection, {**place, "ssl_cert_reqs": "required", "ssl_check_hostname": True}
    return BlockingConnectionPool(
        max_connections=CONNECTIONS,
        timeout=None,
        connection_class=kind,
        db=address.database,
        username=address.username,
        password=address.password,
        # For commands that nobody waits for any more.
        socket_timeout=2 * timeout_s,
        socket_connect_timeout=2 * timeout_s,
        retry=Retry(NoBackoff(), 0),
        # RESP2: all that is asked here is in it, and no message comes that nobody asked for.
        protocol=2,
        client_name="farthing",
        **place,
    )


def _name(checksum: bytes) -> str:
    return PREFIX + checksum.hex()


def _outcome_of(error: Exception) -> Outcome:
    if isinstance(error, TimeoutError):
        return "slow"
    # A connection that was not let in is told as one that could not be made, because of that.
    is_refusal = isinstance(error, ResponseError) or isinstance(error.__cause__, AuthenticationError)
    return "refused" if is_refusal or isinstance(error, AuthenticationError) else "unreachable"


def _certificates_fault(error: Exception) -> str:
    """For people: what is wrong with its certificate. Empty: nothing, or nobody came so far as to see it."""
    # The client tells of it as of any connection that could not be made.
    fault = error.__cause__ or error.__context__
    return f", its certificate: {fault.verify_message}" if isinstance(fault, ssl.SSLCertVerificationError) else ""
