"""What the gateway hands back for a call: a stream of events that ends in a receipt, or the whole answer."""

from collections.abc import AsyncGenerator
from typing import Protocol

import msgspec

from router.again import Again
from router.answer import Answer, Delta
from router.call import Call, EventFormat
from router.receipt import CacheOutcome, Receipt, Timing
from telemetry import ChatFacts


class Finished(msgspec.Struct, frozen=True, kw_only=True):
    """The last event of every successful call: the whole answer and its account, after the ledger has both."""

    answer: Answer
    receipt: Receipt


class Origin(msgspec.Struct, frozen=True, kw_only=True):
    """The earlier call under the same Idempotency-Key whose result this is, by the names it went by."""

    generation_id: str
    trace_id: str
    received_at_ms: int


class Reply(Protocol):
    """One caller's view of one call. Leave it by `aclose`, always: a caller that left is charged for what it got."""

    @property
    def origin(self) -> Origin | None:
        """Whose result it is, if it is an earlier call's. Known from the start; then this call is no generation."""

    @property
    def cache(self) -> CacheOutcome:
        """How the call is being answered. Known from the start."""

    @property
    def deployment_id(self) -> str:
        """`provider:model` that answers. For a call in progress, the one being tried."""

    @property
    def dropped_params(self) -> tuple[str, ...]:
        """Parameters not sent to that deployment."""

    @property
    def clamped(self) -> dict[str, int]:
        """{field: its value}, where the answer was made shorter to fit under a ceiling."""

    @property
    def timing(self) -> Timing | None:
        """Where its time has gone so far. None: most of it in a call that another caller leads, or before this one."""

    @property
    def event_format(self) -> EventFormat:
        """How the provider's own events are written that its deltas carry, where they carry any."""

    @property
    def again(self) -> Again | None:
        """What equal requests may be answered by without being read. None: they may not."""

    @property
    def has_next(self) -> bool:
        """Whether the next of its `events` is there already, and no error: what this one said may leave with it."""

    async def finished(self) -> Finished:
        """Wait for the whole answer, within the call's deadline. Raises RouterError or LedgerError."""

    def events(self) -> AsyncGenerator[Delta | Finished, None]:
        """Deltas from the first one on, then Finished. The first output comes within the call's deadline.

        Raises RouterError or LedgerError, also midway. Consume under `aclosing`.
        """

    def chat_facts(self) -> ChatFacts:
        """What the call's span says, once it is over or left."""

    async def aclose(self) -> None:
        """Stop listening. The last listener's leaving stops the upstream call."""


class Gateway(Protocol):
    """One call, from route to answer."""

    async def generate(self, call: Call) -> Reply:
        """Admit the call and start answering it. Raises RouterError or LedgerError; then nothing was sent.

        Under an Idempotency-Key that an equal call has used, the reply is that one's result.
        """

    def stop(self) -> None:
        """End every call that is still in flight, now: each of its callers is told so."""
