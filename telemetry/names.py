"""The attribute names that our spans use.

HTTP, server and error names are stable and come from OpenTelemetry's own package. The GenAI names are "Development"
and have left that package; those below are as of semantic-conventions-genai, `client-inference.md` and `migration.md`
(August 2026). Cost has no standard name: an exact integer under our own. `farthing.*` names are ours and stable; none
is the beginning of another, for viewers that show names as a tree.

Beside the current names stand a few others, each for viewers that read no other (as of November 2026): Phoenix 20 and
Langfuse know cache writes by their previous name only, Grafana's and OpenLIT's dashboards the provider; Langfuse,
Laminar and OpenLIT take a cost in dollars from `gen_ai.usage.cost`. Older names yet (`gen_ai.usage.prompt_tokens`) have
no reader left that lacks the current ones, and OpenInference's `llm.*` would have Langfuse count every token twice.
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
PREVIOUS_PROVIDER: Final = "gen_ai.system"
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
PREVIOUS_CACHE_WRITE_TOKENS: Final = "gen_ai.usage.cache_creation.input_tokens"
# US dollars, rounded to what a double can hold: for viewers. COST_NANOUSD is the amount.
COST_USD: Final = "gen_ai.usage.cost"
# By modality, those that came from a cache included.
INPUT_AUDIO_TOKENS: Final = "gen_ai.usage.audio.input_tokens"
INPUT_IMAGE_TOKENS: Final = "gen_ai.usage.image.input_tokens"
OUTPUT_AUDIO_TOKENS: Final = "gen_ai.usage.audio.output_tokens"
OUTPUT_IMAGE_TOKENS: Final = "gen_ai.usage.image.output_tokens"
INPUT_MESSAGES: Final = "gen_ai.input.messages"
OUTPUT_MESSAGES: Final = "gen_ai.output.messages"

# The conventions do not tell caches apart by how long they keep: the part of the cache writes that is for an hour.
CACHE_WRITE_1H_TOKENS: Final = "farthing.usage.cache_write_1h.input_tokens"

# On every span of a call.
GENERATION_ID: Final = "farthing.generation.id"
GENERATION_URL: Final = "farthing.generation.url"

# On the span of the request.
ERROR_CODE: Final = "farthing.error.code"
# Why it is told although its trace is not sampled.
KEPT_FOR: Final = "farthing.kept_for"
# The ceiling that had no room: amounts in nano-dollars, tokens or calls, as its unit says.
CEILING_SCOPE: Final = "farthing.ceiling.scope"
CEILING_WINDOW: Final = "farthing.ceiling.window"
CEILING_UNIT: Final = "farthing.ceiling.unit"
CEILING_LIMIT: Final = "farthing.ceiling.limit"
CEILING_SPENT: Final = "farthing.ceiling.spent"
CEILING_HELD: Final = "farthing.ceiling.held"
CEILING_ASKED: Final = "farthing.ceiling.asked"

# On the span of the call.
ROUTE: Final = "farthing.route"
COST_NANOUSD: Final = "farthing.cost.nanousd"
COST_BASIS: Final = "farthing.cost.basis"
CACHE: Final = "farthing.cache"
SAVED_NANOUSD: Final = "farthing.saved.nanousd"
# The generation whose answer was given, where it is another one's.
ANSWER_OF: Final = "farthing.answer_of"
# It waited until its provider wanted to be asked again.
PACED: Final = "farthing.paced"
CLAMPED: Final = "farthing.clamped"
USER: Final = "user.id"
ATTRIBUTION: Final[Mapping[str, str]] = MappingProxyType(
    {
        "key": "farthing.key.id",
        "team": "farthing.team",
        "user": USER,
        "workflow": "farthing.workflow",
        "run": "farthing.run",
    }
)

# On that of an attempt. What it was charged is its part of the call's cost.
ATTEMPT: Final = "farthing.attempt"
HELD_NANOUSD: Final = "farthing.held.nanousd"
CHARGED_NANOUSD: Final = "farthing.charged.nanousd"
CHARGED_BASIS: Final = "farthing.charged.basis"
CEILINGS: Final = "farthing.ceilings"
QUEUED_MS: Final = "farthing.queued_ms"
ENDPOINT: Final = "farthing.endpoint"
HINTS: Final = "farthing.hints"
LINK: Final = "farthing.link"

# On those of calls and attempts.
OUTCOME: Final = "farthing.outcome"
DROPPED_PARAMS: Final = "farthing.dropped_params"
PRICE_VERSION: Final = "farthing.price.version"
BREAKER_STATE: Final = "farthing.breaker.state"
BREAKER_OPEN_COUNT: Final = "farthing.breaker.open_count"

# Events of a call, each with how long it took …
ADMIT: Final = "farthing.admit"
HOLD: Final = "farthing.hold"
HEDGE: Final = "farthing.hedge"
SETTLE: Final = "farthing.settle"
# … and of an attempt, with the time since it began.
FIRST_OUTPUT: Final = "farthing.first_output"
CLASSIFY: Final = "farthing.classify"
DURATION_MS: Final = "farthing.duration_ms"
ADMISSION: Final = "farthing.admission"
DOWNGRADED_BY: Final = "farthing.downgraded_by"
DEPLOYMENT: Final = "farthing.deployment"
HOLD_ID: Final = "farthing.hold.id"
OVERRUN_NANOUSD: Final = "farthing.overrun.nanousd"
PROVIDER_ERROR_CODE: Final = "farthing.provider_error.code"
COUNTS_FOR_BREAKER: Final = "farthing.counts_for_breaker"
TRIES_NEXT: Final = "farthing.tries_next"
RETRY_AFTER_MS: Final = "farthing.retry_after_ms"

# For viewers of OpenInference: what is no call of a model, but has one beneath it. The others they know by OPERATION.
SPAN_KIND: Final = "openinference.span.kind"
CHAIN: Final = "CHAIN"

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
