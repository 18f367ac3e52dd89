"""An estimate as `POST /estimate` answers it: one flat object, amounts in dollars and in nano-dollars."""

from typing import Any, Final

from ledger.errors import Tight
from ledger.money import amount_fields, format_usd
from router.call import Call
from router.estimating import Costs, Estimate, Outlook, Verdict
from service.ceiling_wording import ceiling_fields
from service.errors import problem_body, problem_of

_CACHE: Final[dict[Verdict, str]] = {"hit": "hit", "follow": "coalesced"}
_COSTS_NOTHING: Final = Costs(least_nanousd=0, likely_nanousd=0, most_nanousd=0)


def estimate_object(estimate: Estimate, call: Call, now_ms: int) -> dict[str, Any]:
    """The whole answer. Amounts beside `deployments` are what this very call would come to now."""
    chosen, refusal = estimate.chosen, estimate.refusal
    is_shared = estimate.verdict in _CACHE
    costs = _COSTS_NOTHING if is_shared else None if chosen is None else chosen.costs
    otherwise = "bypass" if call.cache.mode == "bypass" else "miss"
    return {
        "route": estimate.route,
        "admission": estimate.verdict,
        "admitted": estimate.is_admitted,
        "cache": _CACHE.get(estimate.verdict, otherwise),
        "deployment": None if chosen is None or is_shared else chosen.deployment.id,
        **_amounts(costs),
        "estimated_prompt_tokens": next((it.costs.prompt_tokens for it in estimate.outlooks if it.costs), None),
        "binding_ceiling": None if chosen is None or is_shared else _ceiling(chosen.binding),
        "clamped": estimate.clamped,
        "refusal": None if refusal is None else problem_body(problem_of(refusal, now_ms)),
        "deployments": [_outlook(outlook) for outlook in estimate.outlooks],
    }


def _outlook(outlook: Outlook) -> dict[str, Any]:
    deployment, candidate, costs = outlook.deployment, outlook.candidate, outlook.costs
    returns_in_s = outlook.returns_in_s
    return {
        "deployment": deployment.id,
        "provider": deployment.provider.name,
        "model": deployment.model,
        "skipped": outlook.skipped,
        "returns_in_s": None if returns_in_s is None else round(returns_in_s, 3),
        **_amounts(costs),
        "estimated_prompt_tokens": None if costs is None else costs.prompt_tokens,
        "likely_completion_tokens": None if costs is None else costs.written.output + costs.written.reasoning,
        "likely_basis": None if costs is None else "assumed" if costs.is_assumed else "recent_answers",
        "max_completion_tokens": None if candidate is None else candidate.allowed_tokens,
        "price_version": None if deployment.price is None else deployment.price.version,
        "dropped_params": () if candidate is None else candidate.dropped_params,
        "binding_ceiling": _ceiling(outlook.binding),
    }


def _amounts(costs: Costs | None) -> dict[str, Any]:
    """What it holds is the most that it can cost."""
    amounts = {
        "held": None if costs is None else costs.most_nanousd,
        "min": None if costs is None else costs.least_nanousd,
        "likely": None if costs is None else costs.likely_nanousd,
        "max": None if costs is None else costs.most_nanousd,
    }
    in_dollars = {f"{name}_usd": None if it is None else format_usd(it) for name, it in amounts.items()}
    return in_dollars | {f"{name}_nanousd": it for name, it in amounts.items()}


def _ceiling(tight: Tight | None) -> dict[str, Any] | None:
    if tight is None:
        return None
    room = max(0, tight.limit - tight.spent - tight.held)
    return {**ceiling_fields(tight), **amount_fields({"room": room}, tight.unit), "fits": tight.asked <= room}
