"""What is known of vendors by their addresses, where the config does not say: one table, with its sources. Pure."""

import re
from functools import cache
from typing import Final

import msgspec

from router.deployments import Dialect, OnAbort, Provider

AZURE: Final = re.compile(
    r"https://([a-z0-9-]+\.)+(openai\.azure\.com|cognitiveservices\.azure\.com|services\.ai\.azure\.com|azure-api\.net)"
    r"(:\d+)?(/|$)",
    re.IGNORECASE,
)
VERTEX: Final = re.compile(r"https://([a-z0-9-]+-)?aiplatform\.googleapis\.com(:\d+)?(/|$)", re.IGNORECASE)
# Where an Azure resource lists its models: beside its deployments, each of which has an address of its own.
AZURE_DEPLOYMENTS: Final = "/openai/deployments/"
# How Gemini's models at Vertex AI are addressed; then the version is in the path already.
VERTEX_MODELS: Final = "/publishers/google"

# Who writes an answer to its end, and bills it, though its reader is gone. Reading it on for a while is then how to
# learn what it cost. Of the others it is published that the bill stops, or nothing is: what came is counted.
# Source: openrouter.ai/docs, "Streaming: stream cancellation", seen November 2026: the one list of both kinds. The
# vendors' own pages say no more than that an interrupted stream may end without its usage.
_GO_ON: Final = re.compile(
    r"https://("
    r"[a-z0-9.-]+\.googleapis\.com"  # Google AI Studio and Vertex AI
    r"|api\.groq\.com"
    r"|api\.mistral\.ai"
    r"|bedrock-(runtime|mantle)[a-z0-9.-]*"
    r"|api\.perplexity\.ai"
    r"|api\.sambanova\.ai"
    r"|api\.ai21\.com"
    r"|api\.minimaxi?\.(io|chat|com)"
    r"|dashscope[a-z0-9-]*\.aliyuncs\.com"
    r"|api\.([a-z]+\.)?nebius\.(ai|com)"
    r"|router\.huggingface\.co"
    r")(:\d+)?(/|$)",
    re.IGNORECASE,
)

# Who refuses a message with a field that is not theirs. At other addresses there may be a gateway that made it, and
# wants it back. Sources: BerriAI/litellm #30835, NousResearch/hermes-agent #253 (Mistral, 422); BerriAI/litellm #32188.
_TAKES_ITS_OWN_ALONE: Final = re.compile(
    r"https://api\.(openai\.com|mistral\.ai|groq\.com|cerebras\.ai)(:\d+)?(/|$)", re.IGNORECASE
)
# Whose formats have a question for how long a call is.
COUNTING_DIALECTS: Final[frozenset[Dialect]] = frozenset({"anthropic", "gemini"})
# Who publishes that counting a call's tokens is free, under limits of its own.
# Sources: platform.claude.com/docs, "Token counting"; ai.google.dev and cloud.google.com, "CountTokens".
_COUNT_FOR_NOTHING: Final = re.compile(
    r"https://(api\.anthropic\.com|generativelanguage\.googleapis\.com)(:\d+)?(/|$)", re.IGNORECASE
)


class Usual(msgspec.Struct, frozen=True):
    """What holds for a provider unless its config says otherwise. auth_header empty: its dialect's own."""

    on_abort: OnAbort
    auth_header: str = ""
    counts_tokens: bool = False


def usual_of(dialect: Dialect, base_url: str) -> Usual:
    """What is known of this address."""
    if dialect == "local":
        # It stops at once, and costs nothing in any case.
        return Usual("free")
    on_abort: OnAbort = "drain" if _GO_ON.match(base_url) else "estimate"
    if AZURE.match(base_url):
        return Usual(on_abort, "api-key")
    if VERTEX.match(base_url):
        # Google's keys are for AI Studio; here it is a token, as at most others.
        return Usual(on_abort, "authorization", counts_tokens=dialect == "gemini")
    is_free = dialect in COUNTING_DIALECTS and _COUNT_FOR_NOTHING.match(base_url) is not None
    return Usual(on_abort, counts_tokens=is_free)


@cache
def takes_own_fields_alone(base_url: str) -> bool:
    """Whether messages with other vendors' fields are refused at this address."""
    return _TAKES_ITS_OWN_ALONE.match(base_url) is not None or AZURE.match(base_url) is not None


def credentials(provider: Provider, header: str) -> dict[str, str]:
    """The header with the provider's key, if it has one. header: its dialect's own, in lower case."""
    if not provider.api_key:
        return {}
    name = provider.auth_header or header
    return {name: f"Bearer {provider.api_key}" if name == "authorization" else provider.api_key}
