"""Calls from a plain script: the same router, ledger and holds as the service, without the service.

What opens those is above the router, which must not import it: it is found by its name, when the first call is made.
"""

import pkgutil
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, aclosing
from typing import TYPE_CHECKING, Any, Final, Protocol, cast

if TYPE_CHECKING:
    from router.reply import Reply

OPENER: Final = "service.script:open_reply"


class Opener(Protocol):
    """Opens the router on the config at hand and starts one call."""

    def __call__(
        self, messages: Sequence[Mapping[str, Any]], *, temperature: float | None, stream: bool
    ) -> "AbstractAsyncContextManager[Reply]":
        """Leaving settles the call and closes the ledger. Raises ChatFailed, also for what fails in the block."""


class ChatFailed(Exception):
    """A script's call that was not answered, in words for people. code: stable, as the service's; or config_invalid."""

    def __init__(self, detail: str, *, code: str) -> None:
        super().__init__(detail)
        self.code = code


async def chat_complete(messages: Sequence[Mapping[str, Any]], temperature: float | None = None) -> tuple[str, str]:
    """(`provider:model` that answered, its text), for one chat completion on the route `default`, else the first.

    The config is `$FARTHING_CONFIG`, `./farthing.toml`, or the environment, as for the service. Each call opens the
    ledger of that config, takes its holds under the same ceilings as a service running on it, is answered from its
    cache where an equal call was answered, and closes it with every attempt settled: workflow `script` in the reports.
    temperature None: the model's own. Raises ChatFailed, with the reason, when nothing usable is left.
    """
    async with _opener()(messages, temperature=temperature, stream=False) as reply:
        finished = await reply.finished()
        text = "".join(choice.text or choice.refusal for choice in finished.answer.choices)
        return f"{finished.receipt.provider}:{finished.receipt.model}", text


async def chat_complete_stream(
    messages: Sequence[Mapping[str, Any]], temperature: float | None = None
) -> AsyncGenerator[str, None]:
    """The text of one chat completion, piece by piece; else as `chat_complete`.

    Consume under `aclosing` if you may stop early: then what came so far is settled at once. Raises ChatFailed, also
    midway.
    """
    from router.answer import Delta

    async with (
        _opener()(messages, temperature=temperature, stream=True) as reply,
        aclosing(reply.events()) as events,
    ):
        async for event in events:
            if isinstance(event, Delta) and (text := event.text or event.refusal):
                yield text


def _opener() -> Opener:
    return cast("Opener", pkgutil.resolve_name(OPENER))
