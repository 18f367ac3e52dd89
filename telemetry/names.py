"""The attribute names that our spans use.

HTTP, server and error names are stable and come from OpenTelemetry's own package. The GenAI names are "Development" and
have left that package; those below are as of semantic-conventions-genai, `client-inference.md` and `migration.md`
(August 2026). Cost has no standard name: an exact integer under our own. `farthing.*` names are ours and stable.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from opentelemetry.semconv.attributes.error_attributes import ERROR_TYPE
from opentelemetry.semconv.attributes.http_attributes import (
    HTTP_REQUEST_METHOD,
    HTTP_REQUEST_METHOD_ORIGINAL,
    HTTP_RESPONSE_STATUS_CODE,
    HTTP_ROUTE,
)
from opentelemetry.semconv.attributes.server_attributes import SERVER_ADDRESS, SERVER_PORT
from opentelemetry.semconv.attributes.url_attributes import URL_PATH, URL_SCHEME

__all__ = [
    "ERROR_TYPE",
    "HTTP_REQUEST_METHOD",
    "HTTP_REQUEST_METHOD_ORIGINAL",
    "HTTP_RESPONSE_STATUS_CODE",
    "HTTP_ROUTE",
    "SERVER_ADDRESS",
    "SERVER_PORT",
    "URL_PATH",
    "URL_SCHEME",
]

OPERATION: Final = "gen_ai.operation.name"
PROVIDER: Final = "gen_ai.provider.name"
REQUEST_MODEL: Final = "gen_ai.request.model"
REQUEST_STREAM: Final = "gen_ai.request.stream"
RESPONSE_MODEL: Final = "gen_ai.response.model"
RESPONSE_ID: Final = "gen_ai.response.id"
FINISH_REASONS: Final = "gen_ai.response.finish_reasons"
# Seconds.
TIME_TO_FIRST_CHUNK: Final = "gen_ai.response.time_to_first_chunk"
# Includes cached input.
INPUT_TOKENS: Final = "gen_ai.usage.input_tokens"
# Includes reasoning.
OUTPUT_TOKENS: Final = "gen_ai.usage.output_tokens"
CACHED_TOKENS: Final = "gen_ai.usage.cache_read.input_tokens"
REASONING_TOKENS: Final = "gen_ai.usage.reasoning.output_tokens"
CACHE_WRITE_TOKENS: Final = "gen_ai.usage.cache_write.input_tokens"
# By modality, those that came from a cache included.
INPUT_AUDIO_TOKENS: Final = "gen_ai.usage.audio.input_tokens"
INPUT_IMAGE_TOKENS: Final = "gen_ai.usage.image.input_tokens"
OUTPUT_AUDIO_TOKENS: Final = "gen_ai.usage.audio.output_tokens"
OUTPUT_IMAGE_TOKENS: Final = "gen_ai.usage.image.output_tokens"
INPUT_MESSAGES: Final = "gen_ai.input.messages"
OUTPUT_MESSAGES: Final = "gen_ai.output.messages"

# The conventions do not tell caches apart by how long they keep: the part of the cache writes that is for an hour.
CACHE_WRITE_1H_TOKENS: Final = "farthing.usage.cache_write_1h.input_tokens"
GENERATION_ID: Final = "farthing.generation.id"
ROUTE: Final = "farthing.route"
OUTCOME: Final = "farthing.outcome"
ERROR_CODE: Final = "farthing.error.code"
COST_NANOUSD: Final = "farthing.cost.nanousd"
COST_BASIS: Final = "farthing.cost.basis"
CACHE: Final = "farthing.cache"
SAVED_NANOUSD: Final = "farthing.saved.nanousd"
DROPPED_PARAMS: Final = "farthing.dropped_params"
ATTEMPT: Final = "farthing.attempt"
LINK: Final = "farthing.link"

# Source: semantic-conventions, "HTTP": any other method is `_OTHER`.
HTTP_METHODS: Final = frozenset(
    {"GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "QUERY"}
)

# What a call's own parameters are called on a span, and the type that the conventions give them.
REQUEST_PARAMS: Final[Mapping[str, tuple[str, type]]] = MappingProxyType(
    {
        "max_tokens": ("gen_ai.request.max_tokens", int),
        "max_completion_tokens": ("gen_ai.request.max_tokens", int),
        "temperature": ("gen_ai.request.temperature", float),
        "top_p": ("gen_ai.request.top_p", float),
        "top_k": ("gen_ai.request.top_k", int),
        "frequency_penalty": ("gen_ai.request.frequency_penalty", float),
        "presence_penalty": ("gen_ai.request.presence_penalty", float),
        "seed": ("gen_ai.request.seed", int),
        "dimensions": ("gen_ai.embeddings.dimension.count", int),
        "n": ("gen_ai.request.choice.count", int),
        "reasoning_effort": ("gen_ai.request.reasoning.level", str),
    }
)

# Configured provider names that the conventions know under another one. All others are told as they are.
WELL_KNOWN_PROVIDERS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "azure": "azure.ai.openai",
        "azure_openai": "azure.ai.openai",
        "bedrock": "aws.bedrock",
        "gemini": "gcp.gemini",
        "google": "gcp.gemini",
        "grok": "x_ai",
        "mistral": "mistral_ai",
        "moonshot": "moonshot_ai",
        "vertex": "gcp.vertex_ai",
        "vertex_ai": "gcp.vertex_ai",
        "watsonx": "ibm.watsonx.ai",
        "xai": "x_ai",
    }
)
