"""Requests that generate, and what answers them. The tests ask for each, so a drift is a failure."""

from typing import Any, Final

GENERATE: Final[dict[str, Any]] = {
    "model": "chat",
    "prompt": "Name the smallest coin there was.",
    "params": {"max_tokens": 40, "temperature": 0},
    "workflow": "summarise",
    "user": "u1",
    "tags": {"feature": "search"},
    "stream": False,
    "cache": {"mode": "use", "ttl_s": 300},
    "deadline_ms": 60000,
    "max_cost_usd": "0.05",
}
GENERATED: Final[dict[str, Any]] = {
    "id": "gen_06cq2f1q0c8m3n4p5r6s7t8u9v",
    "provider": "openai",
    "model": "gpt-4o-mini",
    "output": "The half farthing, in Britain.",
    "finish_reason": "stop",
    "tool_calls": [],
    "cache": "miss",
    "cache_hit": False,
    "latency_ms": 812.4,
    "cost_usd": "0.000007950",
    "cost_nanousd": 7950,
    "saved_nanousd": 0,
    "cost_basis": "priced_usage",
    "prompt_tokens": 21,
    "completion_tokens": 8,
    "cached_tokens": 0,
    "reasoning_tokens": 0,
    "estimated_prompt_tokens": 21,
    "attempts": [
        {
            "provider": "openai",
            "model": "gpt-4o-mini",
            "outcome": "ok",
            "status": 200,
            "latency_ms": 809.9,
            "ttft_ms": None,
            "cost_nanousd": 7950,
            "hedge": False,
            "error": None,
        }
    ],
    "telemetry": {
        "circuit_breaker_status": "closed",
        "circuit_breaker_open_count": 0,
        "router_pacing_delay": False,
        "reasoning_effort": None,
        "reasoning_summary_requested": False,
        "thinking_budget": None,
        "include_thoughts": None,
        "reasoning_hint_dropped": False,
        "thinking_hint_dropped": False,
    },
    "dropped_params": [],
    "trace_id": "0af7651916cd43dd8448eb211c80319c",
}
CHAT: Final[dict[str, Any]] = {
    "model": "chat",
    "messages": [{"role": "user", "content": "Name the smallest coin there was."}],
    "max_tokens": 40,
}
COMPLETED: Final[dict[str, Any]] = {
    "id": "chatcmpl-06cq2f1q0c8m3n4p5r6s7t8u9v",
    "object": "chat.completion",
    "created": 1795240000,
    "model": "gpt-4o-mini",
    "choices": [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "The half farthing, in Britain.", "refusal": None},
            "logprobs": None,
            "finish_reason": "stop",
        }
    ],
    "usage": {
        "prompt_tokens": 21,
        "completion_tokens": 8,
        "total_tokens": 29,
        "prompt_tokens_details": {"cached_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 0},
        "cost_usd": "0.000007950",
        "cost_nanousd": 7950,
        "cost_basis": "priced_usage",
    },
}
MESSAGE: Final[dict[str, Any]] = {
    "model": "chat",
    "max_tokens": 40,
    "system": "Be brief.",
    "messages": [{"role": "user", "content": "Name the smallest coin there was."}],
}
MESSAGED: Final[dict[str, Any]] = {
    "id": "msg_06cq2f1q0c8m3n4p5r6s7t8u9v",
    "type": "message",
    "role": "assistant",
    "model": "claude-sonnet-4-5",
    "content": [{"type": "text", "text": "The half farthing, in Britain."}],
    "stop_reason": "end_turn",
    "stop_sequence": None,
    "usage": {
        "input_tokens": 21,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 0,
        "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0},
        "output_tokens": 8,
        "output_tokens_details": {"thinking_tokens": 0},
        "cost_usd": "0.000007950",
        "cost_nanousd": 7950,
        "cost_basis": "priced_usage",
    },
}
RESPOND: Final[dict[str, Any]] = {
    "model": "chat",
    "input": "Name the smallest coin there was.",
    "instructions": "Be brief.",
    "max_output_tokens": 40,
}
RESPONDED: Final[dict[str, Any]] = {
    "id": "resp_06cq2f1q0c8m3n4p5r6s7t8u9v",
    "object": "response",
    "created_at": 1795240000,
    "status": "completed",
    "error": None,
    "incomplete_details": None,
    "background": False,
    "instructions": "Be brief.",
    "max_output_tokens": 40,
    "max_tool_calls": None,
    "metadata": {},
    "model": "gpt-4o-mini",
    "output": [
        {
            "id": "msg_06cq2f1q0c8m3n4p5r6s7t8u9v_0",
            "type": "message",
            "role": "assistant",
            "status": "completed",
            "content": [
                {
                    "type": "output_text",
                    "text": "The half farthing, in Britain.",
                    "annotations": [],
                    "logprobs": [],
                }
            ],
        }
    ],
    "parallel_tool_calls": True,
    "previous_response_id": None,
    "reasoning": {"effort": None, "summary": None},
    "service_tier": "default",
    "store": False,
    "temperature": None,
    "text": {"format": {"type": "text"}},
    "tool_choice": "auto",
    "tools": [],
    "top_logprobs": 0,
    "top_p": None,
    "truncation": "disabled",
    "user": None,
    "usage": {
        "input_tokens": 21,
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens": 8,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": 29,
        "cost_usd": "0.000007950",
        "cost_nanousd": 7950,
        "cost_basis": "priced_usage",
    },
}
EMBED: Final[dict[str, Any]] = {"model": "openai:text-embedding-3-small", "input": ["a farthing", "a penny"]}
EMBEDDED: Final[dict[str, Any]] = {
    "object": "list",
    "data": [
        {"object": "embedding", "index": 0, "embedding": [0.0023064255, -0.009327292]},
        {"object": "embedding", "index": 1, "embedding": [0.0119476, 0.00087931944]},
    ],
    "model": "text-embedding-3-small",
    "usage": {
        "prompt_tokens": 6,
        "total_tokens": 6,
        "cost_usd": "0.000000120",
        "cost_nanousd": 120,
        "cost_basis": "priced_usage",
    },
}
MODEL: Final[dict[str, Any]] = {
    "id": "chat",
    "object": "model",
    "created": 1795240000,
    "owned_by": "farthing",
    "context_window": 128000,
    "max_output_tokens": 16384,
    "supports": ["json_schema", "temperature", "tools", "vision"],
    "pricing": None,
    "strategy": "ordered",
    "deployments": ["openai:gpt-4o-mini", "local:smollm2"],
}
CEILING: Final[dict[str, Any]] = {
    "scope": "user:u1",
    "window": "day",
    "limit_usd": "5.000000000",
    "limit_nanousd": 5000000000,
    "spent_usd": "1.250000000",
    "spent_nanousd": 1250000000,
    "held_usd": "0.000000000",
    "held_nanousd": 0,
    "asked_usd": "0.000041550",
    "asked_nanousd": 41550,
    "window_ends_at": "2026-11-22T00:00:00.000Z",
    "unit": "usd",
    "room_usd": "3.750000000",
    "room_nanousd": 3750000000,
    "fits": True,
}
_ESTIMATED_AMOUNTS: Final[dict[str, Any]] = {
    "held_usd": "0.000041550",
    "min_usd": "0.000003150",
    "likely_usd": "0.000027150",
    "max_usd": "0.000041550",
    "held_nanousd": 41550,
    "min_nanousd": 3150,
    "likely_nanousd": 27150,
    "max_nanousd": 41550,
}
ESTIMATED: Final[dict[str, Any]] = {
    "route": "chat",
    "admission": "lead",
    "admitted": True,
    "cache": "miss",
    "deployment": "openai:gpt-4o-mini",
    **_ESTIMATED_AMOUNTS,
    "estimated_prompt_tokens": 21,
    "binding_ceiling": CEILING,
    "clamped": {},
    "refusal": None,
    "deployments": [
        {
            "deployment": "openai:gpt-4o-mini",
            "provider": "openai",
            "model": "gpt-4o-mini",
            "skipped": None,
            "returns_in_s": None,
            **_ESTIMATED_AMOUNTS,
            "estimated_prompt_tokens": 21,
            "likely_completion_tokens": 40,
            "likely_basis": "assumed",
            "max_completion_tokens": 40,
            "price_version": "genai-prices 0.2.3 openai/gpt-4o-mini",
            "dropped_params": [],
            "binding_ceiling": CEILING,
        }
    ],
}
