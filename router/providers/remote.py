"""The dialects that are spoken to providers elsewhere."""

import httpx

from router.deployments import Dialect
from router.providers.anthropic.counting import AnthropicCount
from router.providers.anthropic.dialect import AnthropicDialect
from router.providers.gemini.counting import GeminiCount
from router.providers.gemini.dialect import GeminiDialect
from router.providers.openai import OpenAIDialect
from router.providers.upstream import CountsTokens, Upstream


def remote_dialects(transport: httpx.AsyncBaseTransport) -> dict[str, Upstream]:
    """{dialect: its speaker}, over one transport."""
    return {
        "openai": OpenAIDialect(transport),
        "anthropic": AnthropicDialect(transport),
        "gemini": GeminiDialect(transport),
    }


def remote_counts(transport: httpx.AsyncBaseTransport) -> dict[Dialect, CountsTokens]:
    """{dialect: who asks in it how long a call is}, over one transport."""
    return {"anthropic": AnthropicCount(transport), "gemini": GeminiCount(transport)}
