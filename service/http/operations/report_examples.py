"""Reports as the documentation shows them. A test compares them with what the service really answers."""

from typing import Any, Final

_SPENT: Final[dict[str, Any]] = {
    "cost_usd": "0.000007950",
    "cost_nanousd": 7950,
    "estimated_nanousd": 0,
    "held_nanousd": 0,
    "saved_nanousd": 7950,
    "wasted_nanousd": 0,
    "generations": 2,
    "attempts": 1,
    "cache_hits": 1,
    "coalesced": 0,
    "prompt_tokens": 21,
    "completion_tokens": 8,
    "cached_tokens": 0,
    "reasoning_tokens": 0,
}
SPENT: Final[dict[str, Any]] = {
    "since": None,
    "until": None,
    "currency": "USD",
    "group_by": ["model"],
    "total": _SPENT,
    "rows": [{"model": "openai:gpt-4o-mini", **_SPENT}],
}
_QUANTILES: Final[dict[str, Any]] = {
    "mean_ms": 812.4,
    "p50_ms": 812.1,
    "p90_ms": 812.1,
    "p95_ms": 812.1,
    "p99_ms": 812.1,
    "max_ms": 812.4,
}
_TOOK: Final[dict[str, Any]] = {"count": 1, "errors": 0, **_QUANTILES, "ttft": {"count": 1, **_QUANTILES}}
TOOK: Final[dict[str, Any]] = {
    "since": None,
    "until": None,
    "group_by": ["model"],
    "total": _TOOK,
    "rows": [{"model": "openai:gpt-4o-mini", **_TOOK}],
}
