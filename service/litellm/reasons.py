"""Why settings of LiteLLM that people use have no equivalent, or need none."""

from typing import Final

from service.litellm.source import Place

_KEYS: Final = "make keys with `farthing keys create`; none are in the config"
_LOGS: Final = "every call is in the ledger, and in OpenTelemetry's traces if [telemetry] or OTEL_* say where to"
_ALWAYS: Final = "what a model does not take is always left out, and named in the answer"
_RETRIES: Final = "the same deployment is not asked twice; the route's next one is, at once"
_REDIS: Final = "processes share what they know by the ledger; a server for stored answers is [cache] url"
_RATE: Final = "a limit is a whole number, of a deployment that could be taken"
_CALLERS: Final = "what a call asks for is the caller's to say"
_PER_ENTRY: Final = "[[providers]] max_concurrency is for all models of a provider together"
_KNOWN: Final = "known by the model's name, or said in [[models]] supports"
_USERS: Final = "its internal users are none of the names that ceilings are for: user, team, key, workflow, run"
_AWS: Final = "Farthing makes no requests signed by AWS"

# {name of a setting, wherever it stands: why}
_BY_NAME: Final = {
    "master_key": _KEYS,
    "salt_key": _KEYS,
    "ui_username": "there are no passwords here",
    "ui_password": "there are no passwords here",
    "database_url": "the ledger is a file, or a PostgreSQL database: [ledger] url says which",
    "database_connection_pool_limit": "the ledger is a file, or a PostgreSQL database: [ledger] url says which",
    "store_model_in_db": "the config is this file alone; SIGHUP reads it again",
    "store_prompts_in_spend_logs": "prompts are never kept",
    "disable_spend_logs": "every attempt is a line of the ledger",
    "drop_params": _ALWAYS,
    "modify_params": "messages are never changed",
    "set_verbose": "the log has one level of detail",
    "debug_level": "the log has one level of detail",
    "json_logs": "the log is JSON always",
    "telemetry": "nothing is sent to anybody unless it is configured",
    "num_retries": _RETRIES,
    "retry_after": _RETRIES,
    "max_retries": _RETRIES,
    "retry_policy": _RETRIES,
    "model_group_retry_policy": _RETRIES,
    "max_fallbacks": "a route's targets are all tried, within the deadline",
    "content_policy_fallbacks": "what a provider refuses to say is told to the caller, and not asked elsewhere",
    "enable_pre_call_checks": "a call surely too long for a model is never sent there",
    "redis_host": _REDIS,
    "redis_port": _REDIS,
    "redis_password": _REDIS,
    "redis_url": _REDIS,
    "cache_params": "answers are stored in the ledger, or where [cache] url says; only exactly equal calls get them",
    "callbacks": _LOGS,
    "success_callback": _LOGS,
    "failure_callback": _LOGS,
    "service_callback": _LOGS,
    "turn_off_message_logging": "prompts are in no log, and in traces only with [telemetry] capture_content",
    "alerting": "who is told of what is said under [[alerts]], with an address for each",
    "alerting_threshold": "who is told of what is said under [[alerts]], with an address for each",
    "fallbacks": "it is of no route here",
    "weight": "calls are spread by weights where all deployments of a name have one",
    "extra_headers": "headers are names and values in text, and none that is sent anyway",
    "headers": "headers are names and values in text, and none that is sent anyway",
    "organization": "it is a header of [[providers]] to OpenAI: OpenAI-Organization",
    "order": "an order is taken where all deployments of a name have one",
    "rpm": _RATE,
    "tpm": _RATE,
    "max_parallel_requests": _PER_ENTRY,
    "tags": "callers choose among routes by name, not by tags",
    "temperature": _CALLERS,
    "max_tokens": _CALLERS,
    "top_p": _CALLERS,
    "seed": _CALLERS,
    "stream": _CALLERS,
    "reasoning_effort": _CALLERS,
    "thinking": _CALLERS,
    "extra_body": _CALLERS,
    "api_version": "only addresses of Azure take a version",
    "aws_access_key_id": _AWS,
    "aws_secret_access_key": _AWS,
    "aws_region_name": _AWS,
    "base_model": "a price is found by the model's own name; give others theirs in [[models]]",
    "hidden": "every route is listed",
    "max_internal_user_budget": _USERS,
    "internal_user_budget_duration": _USERS,
    "tokenizer": "counting uses the model's own encoding, where it is public",
}
# {place, from the start, without the numbers of lists: why}
_BY_PLACE: Final[dict[tuple[str, ...], str]] = {
    ("model_list", "model_info", "mode"): "both chat and embeddings are served, whatever a model is for",
    ("model_list", "model_info", "id"): "a deployment's name is its provider:model",
    ("litellm_settings", "cache_params", "mode"): "its modes are default_on and default_off, of a cache that is on",
    ("guardrails",): "there are no guardrails here",
    ("mcp_servers",): "tools are the caller's own; there are no MCP servers here",
    ("environment_variables",): "set it in the environment of the service",
    ("credential_list",): "no entry of the model_list that could be taken names it",
    ("files_settings",): "files are not served here",
    ("finetune_settings",): "fine-tuning is not served here",
    ("vector_store_registry",): "there are no vector stores here",
    ("general_settings", "max_parallel_requests"): "there is no limit of calls at once for a key",
    ("general_settings", "pass_through_endpoints"): "only the paths of GET /schema are served",
}


def reason_for(place: Place) -> str:
    """Why what is at this place has no equivalent. Empty: nobody thought of it."""
    names = tuple(step for step in place if isinstance(step, str))
    for length in range(len(names), 0, -1):
        if names[:length] in _BY_PLACE:
            return _BY_PLACE[names[:length]]
    known = next((_BY_NAME[name] for name in reversed(names) if name in _BY_NAME), "")
    return known or (_KNOWN if names and names[-1].startswith("supports_") else "")
