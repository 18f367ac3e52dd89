"""How long a call is, by Google's own count: it is free, under a limit of its own.

Source: ai.google.dev/api/tokens; cloud.google.com, Vertex AI, "CountTokensRequest".
"""

from typing import Any, Final

import httpx

from router.deployments import Deployment
from router.providers.client import Http, ask_count
from router.providers.gemini.dialect import headers_of, path_of, root_of
from router.providers.gemini.request import request_of

METHOD: Final = "countTokens"
# What Vertex AI counts; it refuses a request's other fields.
_COUNTED_AT_VERTEX: Final = ("contents", "systemInstruction", "tools", "generationConfig")


class GeminiCount:
    """See `CountsTokens`."""

    def __init__(self, transport: httpx.AsyncBaseTransport) -> None:
        self._http = Http(transport)

    async def count_tokens(self, deployment: Deployment, body: dict[str, Any], *, headers: dict[str, str]) -> int:
        """See `CountsTokens`."""
        provider, request = deployment.provider, request_of(body, deployment.model)
        if root_of(provider):
            # Without it, only the messages would be counted.
            said = {"generateContentRequest": {"model": f"models/{deployment.model}", **request}}
        else:
            said = {name: request[name] for name in _COUNTED_AT_VERTEX if name in request}
        return await ask_count(
            self._http,
            provider,
            path_of(deployment, METHOD),
            headers=headers_of(provider, headers, accept="application/json"),
            request=said,
            field="totalTokens",
        )
