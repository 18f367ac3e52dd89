"""What can be named as `model`, told to callers: OpenAI's object with windows and prices beside it, or Anthropic's."""

import datetime
from collections.abc import Iterable, Sequence
from typing import Any, Final

from ledger.money import format_usd
from ledger.prices import Price, Tier
from router.deployments import Deployment, Route

OWNER: Final = "farthing"


def route_object(route: Route, created_s: int) -> dict[str, Any]:
    """A route. A call may use the largest of its windows, and what any deployment of it takes.

    `pricing` is null where it has several deployments: each of them has its own.
    """
    targets = route.targets
    return {
        "id": route.name,
        "object": "model",
        "created": created_s,
        "owned_by": OWNER,
        "context_window": _most(target.context_window for target in targets),
        "max_output_tokens": _most(target.max_output_tokens for target in targets),
        "supports": _supports(targets),
        "pricing": pricing(targets[0].price) if len(targets) == 1 else None,
        "strategy": route.strategy,
        "deployments": [target.id for target in targets],
    }


def deployment_object(target: Deployment, created_s: int) -> dict[str, Any]:
    """One deployment. Sizes in tokens; null where nobody knows them."""
    return {
        "id": target.id,
        "object": "model",
        "created": created_s,
        "owned_by": target.provider.name,
        "context_window": target.context_window,
        "max_output_tokens": target.max_output_tokens,
        "supports": _supports((target,)),
        "pricing": pricing(target.price),
        "strategy": None,
        "deployments": [target.id],
    }


def pricing(price: Price | None) -> dict[str, Any] | None:
    """Dollars for a million tokens of each class, decimal strings; null: a class costs what its wider class costs.

    `tiers`: what the whole of a longer prompt's call costs. None: it has no price.
    """
    if price is None:
        return None
    return {
        **_rates(price.base),
        "per_request_usd": format_usd(price.per_request_nanousd),
        "tiers": [{"above_prompt_tokens": threshold, **_rates(tier)} for threshold, tier in price.tiers],
        "version": price.version,
    }


def anthropic_page(objects: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """All of them as Anthropic lists models."""
    data = [anthropic_object(it) for it in objects]
    return {
        "data": data,
        "has_more": False,
        "first_id": data[0]["id"] if data else None,
        "last_id": data[-1]["id"] if data else None,
    }


def anthropic_object(model: dict[str, Any]) -> dict[str, Any]:
    """One model in Anthropic's shape, which has no place for prices."""
    created = datetime.datetime.fromtimestamp(model["created"], datetime.UTC)
    return {
        "type": "model",
        "id": model["id"],
        "display_name": model["id"],
        "created_at": created.isoformat().replace("+00:00", "Z"),
        "max_input_tokens": model["context_window"],
        "max_tokens": model["max_output_tokens"],
        "lifecycle": "active",
    }


def _rates(tier: Tier) -> dict[str, str | None]:
    rates = {name: getattr(tier, name) for name in Tier.__struct_fields__}
    return {f"{name}_usd_per_mtok": None if rate is None else format_usd(rate) for name, rate in rates.items()}


def _supports(targets: Iterable[Deployment]) -> list[str] | None:
    """What one of them takes. None: nobody knows of one of them, so that everything is tried."""
    known: set[str] = set()
    for target in targets:
        if target.supports is None:
            return None
        known |= target.supports
    return sorted(known)


def _most(sizes: Iterable[int | None]) -> int | None:
    return max((size for size in sizes if size is not None), default=None)
