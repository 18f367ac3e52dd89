"""Which deployments a call may go to, in which order, and what each could cost at most. Pure."""

from collections.abc import Callable, Collection, Mapping
from typing import Any, Final

import msgspec

from ledger.ceilings import Unit
from ledger.prices.price import Price
from ledger.values import Bid
from router.bounds import embedded_bound_tokens, input_bound_tokens, output_bound_tokens, unbounded_field
from router.call import Call
from router.capabilities import gated, lacks, needed
from router.deployments import Deployment, Route
from router.dialects import fitted, spoken
from router.embeddings import ENDPOINT as EMBEDDINGS
from router.errors import (
    ContextTooLong,
    Inexpressible,
    MaxCostExceeded,
    NoDeploymentAvailable,
    UnboundedCost,
    UnpricedModel,
)
from router.kinds import bound_nanousd
from router.lessons import AS_IT_IS, Adaptation, Lesson
from router.providers.anthropic.in_chat import callers_names
from router.responses import ENDPOINT as RESPONSES
from router.responses import as_sent_of, origin_of

# By how much a count with a tokenizer that is not the model's own may be too high.
_DOUBT: Final = 0.25
# What was learned of a deployment was learned of chat.
_AS_EMBEDDINGS: Final = Adaptation(endpoint=EMBEDDINGS)


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """One deployment that may take the call. held_nanousd bounds its cost, held_tokens what it reads and writes.

    body: what it would be sent. read_tokens: the most that is read of it, which takes long to find where it is large.
    endpoint: where the provider is asked, without a slash before it, like "v1/responses"; empty: the dialect's own.
    clamped: {field: its value}, where the answer was made shorter to fit under a ceiling.
    reads_more: the model reads what is not in the call: found by its tools, or kept under an id.
    allowed_tokens: how long its answer may be. None: nobody knows a limit.
    unbounded_by: the field by which it may use more than that, where no ceiling was known to mind. Empty: it may not.
    """

    deployment: Deployment
    held_nanousd: int
    body: dict[str, Any]
    held_tokens: int = 0
    read_tokens: int = 0
    endpoint: str = ""
    dropped_params: tuple[str, ...] = ()
    clamped: dict[str, int] = {}
    reads_more: bool = False
    allowed_tokens: int | None = None
    unbounded_by: str = ""

    @property
    def bid(self) -> Bid:
        """What the ledger is asked for it."""
        price = self.deployment.price
        assert price is not None, "plan leaves out what has no price"
        return Bid(
            deployment=self.deployment.id,
            held_nanousd=self.held_nanousd,
            held_tokens=self.held_tokens,
            price_version=price.version,
            price=price,
            unbounded_in=_unbounded_in(self.unbounded_by, price),
            unbounded_by=self.unbounded_by,
        )


def plan(
    call: Call,
    route: Route,
    *,
    limited_units: Callable[[str], Collection[Unit]],
    returns_in_s: Mapping[str, float],
    asked_as: Callable[[str], Adaptation] = lambda _: AS_IT_IS,
    prompt_tokens: int | None = None,
) -> tuple[Candidate, ...]:
    """The candidates in the order to try them; at least one.

    limited_units: what the ceilings on a deployment id are in. returns_in_s: {deployment id: seconds until its
    breaker lets a call through}, 0 or missing: now. asked_as: how a deployment id wants to be asked.
    prompt_tokens: of a call that may be too long for one; None: it is not. Raises UnpricedModel, ContextTooLong,
    MaxCostExceeded, UnboundedCost, Inexpressible, NoDeploymentAvailable; in this order, so that what the caller can
    mend comes first.
    """
    priced = [deployment for deployment in route.targets if deployment.price is not None]
    if not priced:
        raise UnpricedModel(tuple(deployment.id for deployment in route.targets))
    fitting = _fitting(call, _pinned(call, priced), prompt_tokens)
    affordable = _affordable(call, fitting, limited_units, asked_as)
    usable = [candidate for candidate in affordable if not returns_in_s.get(candidate.deployment.id)]
    if not usable:
        raise NoDeploymentAvailable(min(returns_in_s[candidate.deployment.id] for candidate in affordable))
    return tuple(usable)


def mended(candidate: Candidate, lesson: Lesson) -> Candidate | None:
    """The candidate, asked as its provider's refusal taught. None: that cannot be said there."""
    adaptation = Adaptation(endpoint=candidate.endpoint).with_lesson(lesson)
    try:
        shared, lost = spoken(candidate.body, candidate.deployment, _endpoint(candidate.deployment, adaptation))
        body, dropped = _adapted(shared, candidate.deployment, adaptation)
    except Inexpressible:
        return None
    bound = _bound(body, candidate.deployment, adaptation.endpoint, candidate.unbounded_by or None)
    clamped = {lesson.renamed.get(name, name): value for name, value in candidate.clamped.items()}
    return msgspec.structs.replace(
        candidate,
        body=body,
        endpoint=adaptation.endpoint,
        dropped_params=(*candidate.dropped_params, *lost, *dropped),
        # Of two limits that have one name there, only one stands.
        clamped={name: value for name, value in clamped.items() if body.get(name) == value},
        **bound.of_candidate,
    )


def _pinned(call: Call, deployments: list[Deployment]) -> list[Deployment]:
    """Those that can go on with what the call goes on with: an earlier response is kept only where it was given."""
    name = call.body.get("previous_response_id")
    origin = None if name is None else origin_of(name)
    if origin is None:
        return deployments
    if here := [it for it in deployments if it.id == origin[0]]:
        return here
    what = f"a response that {origin[0]} gave"
    raise Inexpressible(where="previous_response_id", what=what, dialect=deployments[0].provider.dialect)


def _fitting(call: Call, deployments: list[Deployment], prompt_tokens: int | None) -> list[Deployment]:
    """Those that can read all of the call, and of them those that take what it cannot do without, if there are any."""
    if prompt_tokens is not None:
        windows = {it.id: it.context_window for it in deployments if _is_too_long(prompt_tokens, it)}
        deployments = [it for it in deployments if it.id not in windows]
        if not deployments:
            known = {name: window for name, window in windows.items() if window is not None}
            raise ContextTooLong(prompt_tokens=prompt_tokens, windows=known)
    if all(it.supports is None for it in deployments):
        return deployments
    wanted = needed(call.body)
    # Where none takes it, the first one says so better than anybody else.
    return [it for it in deployments if not lacks(it, wanted)] or deployments


def _is_too_long(prompt_tokens: int, deployment: Deployment) -> bool:
    """Whether it surely is: the count is another tokenizer's for most models."""
    window = deployment.context_window
    return window is not None and prompt_tokens > window * (1 + _DOUBT)


def _affordable(
    call: Call,
    deployments: list[Deployment],
    limited_units: Callable[[str], Collection[Unit]],
    asked_as: Callable[[str], Adaptation],
) -> list[Candidate]:
    limit, whole_culprit = call.max_cost_nanousd, unbounded_field(call.body)
    unsaid: list[Inexpressible] = []
    unbounded: list[str] = []
    too_dear: list[int] = []
    candidates: list[Candidate] = []
    for deployment in deployments:
        try:
            adaptation = _adaptation(call, deployment, asked_as)
            body, dropped = _sendable(call.body, deployment, adaptation)
        except Inexpressible as error:
            unsaid.append(error)
            continue
        endpoint = _endpoint(deployment, adaptation)
        bound = _bound(body, deployment, endpoint, whole_culprit)
        if bound.culprit is not None and bound.fails(limited_units(deployment.id), limit):
            unbounded.append(bound.culprit)
        elif limit is not None and bound.nanousd > limit:
            too_dear.append(bound.nanousd)
        else:
            candidate = Candidate(
                deployment=deployment,
                body=body,
                dropped_params=dropped,
                endpoint=endpoint,
                reads_more=whole_culprit is not None,
                **bound.of_candidate,
            )
            candidates.append(candidate)
    if not candidates:
        raise _why_none(limit, too_dear, unbounded, unsaid)
    return candidates


def _why_none(
    limit: int | None, too_dear: list[int], unbounded: list[str], unsaid: list[Inexpressible]
) -> MaxCostExceeded | UnboundedCost | Inexpressible:
    """What the caller can mend comes first."""
    if too_dear:
        assert limit is not None
        return MaxCostExceeded(limit_nanousd=limit, asked_nanousd=min(too_dear))
    return UnboundedCost(unbounded[0]) if unbounded else unsaid[0]


def _sendable(
    body: dict[str, Any], deployment: Deployment, adaptation: Adaptation
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The body as the deployment would be sent it, and the names of what was left out."""
    shared, lost = spoken(body, deployment, _endpoint(deployment, adaptation))
    taken, refused = gated(shared, deployment)
    said, unsaid = _adapted(taken, deployment, adaptation)
    return said, callers_names(body, lost + refused + unsaid)


def _adapted(
    body: dict[str, Any], deployment: Deployment, adaptation: Adaptation
) -> tuple[dict[str, Any], tuple[str, ...]]:
    wanted, unwanted = adaptation.applied(body)
    said, unsaid = fitted(wanted, deployment, _endpoint(deployment, adaptation))
    return said, unwanted + unsaid


def _adaptation(call: Call, deployment: Deployment, asked_as: Callable[[str], Adaptation]) -> Adaptation:
    if call.kind == "embeddings":
        return _AS_EMBEDDINGS
    adaptation = deployment.adaptation.with_learned(asked_as(deployment.id))
    if not adaptation.endpoint and deployment.has_responses and as_sent_of(call.body) is not None:
        # There nothing need be left out or said in other words.
        return msgspec.structs.replace(adaptation, endpoint=RESPONSES)
    return adaptation


def _endpoint(deployment: Deployment, adaptation: Adaptation) -> str:
    """A dialect that has but one endpoint is asked at no other; embeddings have theirs, if a dialect knows them."""
    return adaptation.endpoint if deployment.has_endpoints or adaptation.endpoint == EMBEDDINGS else ""


class _Bound(msgspec.Struct, frozen=True):
    """The most that a call can cost, use and read somewhere. culprit: the field that makes even that no bound.

    allowed_tokens: as a candidate has them. unbounded_in: the units in which it is none.
    """

    nanousd: int
    tokens: int
    read_tokens: int
    allowed_tokens: int | None
    culprit: str | None
    unbounded_in: tuple[Unit, ...] = ()

    @property
    def of_candidate(self) -> dict[str, Any]:
        """What a candidate says of it."""
        return {
            "held_nanousd": self.nanousd,
            "held_tokens": self.tokens,
            "read_tokens": self.read_tokens,
            "allowed_tokens": self.allowed_tokens,
            "unbounded_by": self.culprit or "",
        }

    def fails(self, units: Collection[Unit], max_cost_nanousd: int | None) -> bool:
        """Whether something rests on it that it does not bound: a ceiling in one of these units, or a call's own."""
        is_limited = max_cost_nanousd is not None
        return any(unit in units or (unit == "usd" and is_limited) for unit in self.unbounded_in)


def _unbounded_in(culprit: str | None, price: Price) -> tuple[Unit, ...]:
    """The units in which a call with this culprit has no bound: what is free costs nothing, whatever it uses."""
    if not culprit:
        return ()
    return ("tokens",) if price.is_free else ("usd", "tokens")


def _bound(body: dict[str, Any], deployment: Deployment, endpoint: str, culprit: str | None) -> _Bound:
    """What the call holds there. culprit: of the whole body, if any."""
    price = deployment.price
    assert price is not None
    allowed_tokens = output_bound_tokens(
        body, max_output_tokens=deployment.max_output_tokens, context_window=deployment.context_window
    )
    if endpoint == EMBEDDINGS:
        read_tokens = embedded_bound_tokens(body, deployment.context_window)
        nanousd = bound_nanousd(price, body, read_tokens, 0)
        return _Bound(nanousd, read_tokens, read_tokens, allowed_tokens, None)
    if culprit is not None:
        # It may have been left out there; and speech is bounded where it has a price.
        culprit = unbounded_field(body, speaks=price.base.output_audio is not None)
    if allowed_tokens is None:
        culprit = culprit or "max_tokens"
    read_tokens, written_tokens = input_bound_tokens(body, deployment.context_window), allowed_tokens or 0
    nanousd = bound_nanousd(price, body, read_tokens, written_tokens)
    open_in = _unbounded_in(culprit, price)
    return _Bound(nanousd, read_tokens + written_tokens, read_tokens, allowed_tokens, culprit, open_in)
