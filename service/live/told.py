"""How a call of this process gets onto the board, from its coming to its end."""

from collections.abc import Callable
from typing import Any, Final, Protocol

import msgspec

from ledger.latest import CallSummary
from ledger.money import format_usd
from ledger.reports import iso
from router.call import Call
from router.errors import UnknownModel
from router.receipt import Receipt
from router.reply import Reply
from service.auth.callers import Caller
from service.live.board import LiveBoard


class Watched(Protocol):
    """One call's line on the board. What it is told is told to everyone who listens."""

    def admitted(self, reply: Reply) -> None:
        """It is being answered. An answer that was at hand is told with its end."""

    def output(self, reply: Reply) -> None:
        """Its caller has had the first output."""

    def answered(self, reply: Reply, receipt: Receipt) -> None:
        """Its caller has the whole answer."""

    def refused(self, code: str) -> None:
        """It was not admitted: nothing is on record of it."""

    def failed(self, code: str) -> None:
        """Its caller has been told so, or has left. What it cost, the ledger will tell."""


class _Unwatched:
    """Nobody listens: there is nothing to do. See `Watched`."""

    def admitted(self, reply: Reply) -> None:
        pass

    def output(self, reply: Reply) -> None:
        pass

    def answered(self, reply: Reply, receipt: Receipt) -> None:
        pass

    def refused(self, code: str) -> None:
        pass

    def failed(self, code: str) -> None:
        pass


UNWATCHED: Final = _Unwatched()


class _OnBoard:
    def __init__(self, board: LiveBoard, call: CallSummary) -> None:
        self._board = board
        self._call = call
        board.tell(call)

    def admitted(self, reply: Reply) -> None:
        if reply.origin is None and reply.cache != "hit":
            self._tell(state="running", deployment=reply.deployment_id, cache=reply.cache)

    def output(self, reply: Reply) -> None:
        if reply.origin is None and reply.cache != "hit":
            self._tell(state="output", deployment=reply.deployment_id, cache=reply.cache)

    def answered(self, reply: Reply, receipt: Receipt) -> None:
        if reply.origin is not None:
            self._tell(
                state="ended", outcome="replayed", cache=reply.cache, cost_nanousd=0, origin=reply.origin.generation_id
            )
            return
        answering = receipt.attempts[-1] if receipt.attempts else None
        usage = receipt.usage if receipt.cache in {"miss", "bypass"} else None
        self._tell(
            state="ended",
            outcome="ok",
            deployment=f"{receipt.provider}:{receipt.model}",
            cache=receipt.cache,
            attempts=len(receipt.attempts),
            cost_nanousd=receipt.cost_nanousd,
            saved_nanousd=receipt.saved_nanousd,
            prompt_tokens=None if usage is None else usage.prompt_tokens,
            completion_tokens=None if usage is None else usage.completion_tokens,
            latency_ms=receipt.latency_ms,
            ttft_ms=None if answering is None else answering.ttft_ms,
        )

    def refused(self, code: str) -> None:
        self._tell(state="ended", outcome="refused", error_code=code, cost_nanousd=0)

    def failed(self, code: str) -> None:
        self._tell(state="ended", error_code=code)

    def _tell(self, *, cost_nanousd: int | None = None, **learned: Any) -> None:
        cost_usd = None if cost_nanousd is None else format_usd(cost_nanousd)
        self._call = msgspec.structs.replace(self._call, cost_nanousd=cost_nanousd, cost_usd=cost_usd, **learned)
        self._board.tell(self._call)


def watched(board: LiveBoard, call: Call, caller: Caller, *, route_of: Callable[[str | None], str]) -> Watched:
    """The call's line, begun. route_of: the name of the route that a model is asked for by; raises UnknownModel."""
    if not board.is_watched:
        return UNWATCHED
    try:
        route = route_of(call.model)
    except UnknownModel:
        route = call.model or ""
    attribution = call.attribution
    return _OnBoard(
        board,
        CallSummary(
            id=call.generation_id,
            state="waiting",
            created_at=iso(call.received_at_ms),
            route=route,
            key=attribution.key_id,
            key_name=caller.key_name,
            team=attribution.team,
            user=attribution.user,
            workflow=attribution.workflow,
            stream=call.stream,
            trace_id=call.trace.trace_id,
        ),
    )
