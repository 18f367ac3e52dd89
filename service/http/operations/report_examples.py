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
_TOOK: Final[dict[str, Any]] = {"count": 1, "errors": 0, **_QUANTILES, "ttft": {"count": 1, "errors": 0, **_QUANTILES}}
TOOK: Final[dict[str, Any]] = {
    "since": None,
    "until": None,
    "group_by": ["model"],
    "total": _TOOK,
    "rows": [{"model": "openai:gpt-4o-mini", **_TOOK}],
}
ALERTS: Final[dict[str, Any]] = {
    "alerts": [
        {
            "id": "evt_5b0c1d6a9e8f7a6b5c4d3e2f",
            "type": "ceiling.threshold",
            "at": "2026-11-21T14:00:00.000Z",
            "facts": {
                "scope": "team:research",
                "window": "month",
                "unit": "usd",
                "threshold": 0.8,
                "limit_usd": "100.000000000",
                "spent_usd": "80.120000000",
                "held_usd": "0.050000000",
                "limit_nanousd": 100_000_000_000,
                "spent_nanousd": 80_120_000_000,
                "held_nanousd": 50_000_000,
                "window_starts_at": "2026-11-01T00:00:00.000Z",
                "window_ends_at": "2026-12-01T00:00:00.000Z",
            },
            "acknowledged": {"at": "2026-11-21T14:05:00.000Z", "by": "06cq2f1q0c8m"},
            "deliveries": [
                {
                    "target": "hooks.example.com",
                    "state": "delivered",
                    "tries": 1,
                    "next_at": None,
                    "last_at": "2026-11-21T14:00:01.000Z",
                    "last_status": 204,
                    "last_error": None,
                    "digest": None,
                }
            ],
        }
    ],
    "next": None,
}
