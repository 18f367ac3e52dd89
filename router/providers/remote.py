"""The dialects that are spoken to providers elsewhere."""

import httpx

from router.providers.anthropic.dialect import AnthropicDialect
from router.providers.client import Upstream
from router.providers.gemini.dialect import GeminiDialect
from router.providers.openai import OpenAIDialect


def remote_dialects(transport: httpx.AsyncBaseTransport) -> dict[str, Upstream]:
    """{dialect: its speaker}, over one transport."""
    return {
        "openai": OpenAIDialect(transport),
        "anthropic": AnthropicDialect(transport),
        "gemini": GeminiDialect(transport),
    }
