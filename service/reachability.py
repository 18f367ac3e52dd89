"""Whether providers can be reached, by asking for their lists of models: nothing that anybody pays for."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from typing import Final

import msgspec

from router.deployments import Provider, Route
from router.faults import Fault, Outcome
from router.providers.remote import remote_dialects
from router.providers.transport import open_transport

TIMEOUT_S: Final = 15.0
_VERDICTS: Final = {
    Outcome.CONNECT_FAILED: "not reachable",
    Outcome.AUTH_REFUSED: "key refused",
    Outcome.NOT_SUPPORTED: "reachable, but lists no models",
}

log = logging.getLogger(__name__)
ListModels = Callable[[Provider], Awaitable[list[str]]]


class Reached(msgspec.Struct, frozen=True):
    """What one provider answered. said: in words, with the models that routes name and it does not have."""

    provider: str
    is_well: bool
    said: str


async def ask_providers(providers: Sequence[Provider], routes: Iterable[Route]) -> AsyncIterator[Reached]:
    """Ask all of them at once; the answers as they come."""
    wanted = {(target.provider.name, target.model): None for route in routes for target in route.targets}
    async with open_transport(limit=len(providers) + 1) as transport:
        remote = remote_dialects(transport)

        async def answer(provider: Provider) -> Reached:
            if provider.dialect == "local":
                return Reached(provider.name, True, "runs with the service")
            models = [model for name, model in wanted if name == provider.name]
            return await _ask(remote[provider.dialect].list_models, provider, models)

        asking = [asyncio.create_task(answer(provider)) for provider in providers]
        try:
            for reached in asyncio.as_completed(asking):
                yield await reached
        finally:
            for task in asking:
                task.cancel()
            await asyncio.gather(*asking, return_exceptions=True)


async def log_reachable(routes: Sequence[Route]) -> None:
    """Say in the log which providers of these routes answer. Never raises: it is a kindness, not a condition."""
    providers = {target.provider.name: target.provider for route in routes for target in route.targets}
    remote = [provider for provider in providers.values() if provider.dialect != "local"]
    if not remote:
        return
    try:
        async for reached in ask_providers(remote, routes):
            log.log(logging.INFO if reached.is_well else logging.WARNING, "%s: %s", reached.provider, reached.said)
    except Exception:
        log.exception("the providers could not be asked for their models")


async def _ask(list_models: ListModels, provider: Provider, wanted: Iterable[str]) -> Reached:
    try:
        async with asyncio.timeout(TIMEOUT_S):
            models = await list_models(provider)
    except Fault as fault:
        status = "" if fault.status is None else f" ({fault.status})"
        words = f"{_VERDICTS.get(fault.outcome, 'reachable, but failing')}{status}: {fault.message}"
        return Reached(provider.name, False, words)
    except TimeoutError:
        return Reached(provider.name, False, f"no answer within {TIMEOUT_S:.0f} s")
    missing = ", ".join(model for model in wanted if model not in models)
    count = f"{len(models)} model{'' if len(models) == 1 else 's'}"
    return Reached(provider.name, True, f"reachable, {count}" + (f"; not among them: {missing}" if missing else ""))
