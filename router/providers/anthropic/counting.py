"""How long a call is, by Anthropic's own count: it is free, under a limit of its own.

Source: platform.claude.com/docs, "Token counting"; the request types of the `anthropic` package, version 2.12.
"""

from typing import Any, Final

import httpx

from router.deployments import Deployment
from router.providers.anthropic.dialect import headers_of
from router.providers.anthropic.request import request_of
from router.providers.client import Http, ask_count

PATH: Final = "/v1/messages/count_tokens"
# Of a message's parameters, those that are of the answer. Any other may be part of what is read.
_OF_THE_ANSWER: Final = frozenset(
    {"max_tokens", "stream", "stop_sequences", "temperature", "top_p", "top_k", "metadata", "service_tier"}
    | {"container", "diagnostics", "inference_geo"}
)


class AnthropicCount:
    """See `CountsTokens`."""

    def __init__(self, transport: httpx.AsyncBaseTransport) -> None:
        self._http = Http(transport)

    async def count_tokens(self, deployment: Deployment, body: dict[str, Any], *, headers: dict[str, str]) -> int:
        """See `CountsTokens`."""
        request = request_of(body, deployment.model, stream=False)
        return await ask_count(
            self._http,
            deployment.provider,
            PATH,
            headers=headers_of(deployment.provider, headers, accept="application/json"),
            request={name: value for name, value in request.items() if name not in _OF_THE_ANSWER},
            field="input_tokens",
        )
