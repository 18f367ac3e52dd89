"""The dialect `local`: OpenAI's, at wherever the embedded model answers now."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any

import msgspec

from router.answer import Closing, Delta
from router.deployments import Deployment
from router.providers.client import Upstream
from router.providers.local.model import LocalModel


class LocalUpstream:
    """Sends attempts to the children that serve the models. models: {provider name: its model}."""

    def __init__(self, openai: Upstream, models: Mapping[str, LocalModel]) -> None:
        self._openai = openai
        self._models = models

    async def attempt(
        self, deployment: Deployment, body: dict[str, Any], *, stream: bool, headers: dict[str, str]
    ) -> AsyncGenerator[Delta | Closing, None]:
        """As `Upstream.attempt`. A model that is still starting is waited for, as long as the attempt may take."""
        base_url = await self._models[deployment.provider.name].wait_ready()
        provider = msgspec.structs.replace(deployment.provider, base_url=base_url)
        there = msgspec.structs.replace(deployment, provider=provider)
        async with aclosing(self._openai.attempt(there, body, stream=stream, headers=headers)) as events:
            async for event in events:
                yield event
