"""The dialect `local`: OpenAI's, at wherever the embedded model answers now."""

from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from typing import Any, Final

import msgspec

from router.answer import Closing, Delta, SaysUsage
from router.deployments import Deployment, Provider
from router.faults import Fault, Outcome
from router.providers.local.model import LocalModel
from router.providers.upstream import Upstream

# The attempt's own limits are shorter; this only ends a wait that nobody bounds.
START_WITHIN_S: Final = 600.0
# Of a text to embed, which the model reads at once. The server takes it for a fault of its own (status 500).
_TOO_LONG: Final = "is too large to process"


class LocalUpstream:
    """Sends attempts to the children that serve the models. models: {provider name: its model}."""

    def __init__(self, openai: Upstream, models: Mapping[str, LocalModel]) -> None:
        self._openai = openai
        self._models = models

    async def attempt(
        self,
        deployment: Deployment,
        body: dict[str, Any],
        *,
        stream: bool,
        headers: dict[str, str],
        on_answer: Callable[[Mapping[str, str], SaysUsage], None] | None = None,
        endpoint: str = "",
        keeps_events: bool = False,
        body_bytes: int = 0,
    ) -> AsyncGenerator[Delta | Closing, None]:
        """As `Upstream.attempt`. A model that is still starting is waited for, as long as the attempt may take."""
        provider = await self._at(deployment.provider)
        there = msgspec.structs.replace(deployment, provider=provider)
        events = self._openai.attempt(
            there,
            body,
            stream=stream,
            headers=headers,
            on_answer=on_answer,
            endpoint=endpoint,
            keeps_events=keeps_events,
            body_bytes=body_bytes,
        )
        try:
            async with aclosing(events):
                async for event in events:
                    yield event
        except Fault as fault:
            if _TOO_LONG not in fault.message:
                raise
            # The caller's doing, in the server's words: nothing is wrong with the model.
            raise Fault(Outcome.REJECTED, fault.message, status=400, error_body=fault.error_body) from fault

    async def list_models(self, provider: Provider) -> list[str]:
        """As `Upstream.list_models`."""
        return await self._openai.list_models(await self._at(provider))

    async def _at(self, provider: Provider) -> Provider:
        model = self._models[provider.name]
        await model.wait_ready(START_WITHIN_S)
        base_url = model.base_url
        if base_url is None:
            raise Fault(Outcome.CONNECT_FAILED, "the local model is not running", sent=False)
        return msgspec.structs.replace(provider, base_url=base_url, api_key=model.api_key)
