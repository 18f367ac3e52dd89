"""What a call would cost and whether it would be let through now, by the rules of a real one. It takes nothing.

A call is planned as `router.gateway` plans it and put to the ledger's own admission rules, which only look. Its turn on
a weighted route is given back, no generation is opened and nobody is asked.
"""

from collections.abc import Sequence
from functools import partial
from typing import Final, Literal, Protocol

import msgspec

from ledger.errors import LedgerError, Tight
from ledger.ledger import Ledger
from ledger.usage import Usage
from ledger.values import AdmitRequest, Prospect, Refused
from router.asked import Asked
from router.call import Call
from router.clamp import clamped
from router.deployments import Deployment
from router.errors import (
    ContextTooLong,
    DeadlineExceeded,
    Inexpressible,
    MaxCostExceeded,
    NoDeploymentAvailable,
    RouterError,
    UnboundedCost,
    UnpricedModel,
)
from router.habits import Habits, Written
from router.health import Health
from router.large import aside
from router.lines import next_look_s
from router.plan import Candidate
from router.planning import Planner
from router.room import RoomMaker
from router.tokens import TokenCounter

# hit: a stored answer; follow: an equal call's; lead: a call of its own; clamp: one with a shorter answer; wait: one
# that has to stand in line first; refuse: none.
Verdict = Literal["hit", "follow", "lead", "clamp", "wait", "refuse"]
# Why a deployment of the route would not be asked: where it is to be left alone for a while, or cannot take this call.
Reason = Literal[
    "open",
    "paced",
    "blocked",
    "too_slow",
    "unpriced",
    "too_long",
    "lacks_capability",
    "inexpressible",
    "unbounded_cost",
    "max_cost_exceeded",
]
# How long an answer is taken to be where the last day's say nothing, in tokens.
ASSUMED: Final = Written(output=256)
_REASONS: Final[dict[type[RouterError], Reason]] = {
    UnpricedModel: "unpriced",
    ContextTooLong: "too_long",
    Inexpressible: "inexpressible",
    UnboundedCost: "unbounded_cost",
    MaxCostExceeded: "max_cost_exceeded",
}
_PASSES: Final = (NoDeploymentAvailable, DeadlineExceeded)


class Costs(msgspec.Struct, frozen=True, kw_only=True):
    """In nano-dollars, least ≤ likely ≤ most. most is what is held. written: how long an answer `likely` stands for.

    least: the input as it is counted, and no answer. is_assumed: no recent answers say how long they are there.
    """

    least_nanousd: int
    likely_nanousd: int
    most_nanousd: int
    prompt_tokens: int = 0
    written: Written = Written(output=0)
    is_assumed: bool = False


class Outlook(msgspec.Struct, frozen=True, kw_only=True):
    """One deployment of the route. candidate and costs None: it can never take this call.

    skipped: why it would not be asked now; returns_in_s: until it would be, where that is only a matter of time.
    binding: of the ceilings that count it, the one with the least room. None: none counts it.
    """

    deployment: Deployment
    candidate: Candidate | None = None
    costs: Costs | None = None
    skipped: Reason | None = None
    returns_in_s: float | None = None
    binding: Tight | None = None


class Estimate(msgspec.Struct, frozen=True, kw_only=True):
    """What would become of a call. outlooks: in the order in which they would be tried, then those left out.

    chosen: the one that would be asked, or that the refusal is of; None: none could be. refusal: what a call that is
    not admitted is told, at once or in the end. clamped: {field: its value} of a call that is made to fit.
    """

    route: str
    verdict: Verdict
    outlooks: tuple[Outlook, ...] = ()
    chosen: Outlook | None = None
    refusal: RouterError | LedgerError | None = None
    clamped: dict[str, int] = {}

    @property
    def is_admitted(self) -> bool:
        """Whether it would be answered, or sent, at once."""
        return self.verdict not in {"wait", "refuse"}


class Estimates(Protocol):
    """Tells what calls would cost."""

    async def estimate(self, call: Call) -> Estimate:
        """What would become of this call now.

        Raises RouterError for one that could never be made, as the gateway does, and LedgerError.
        """


class Estimator:
    """Implements `Estimates` over the parts of a gateway."""

    def __init__(
        self,
        planner: Planner,
        ledger: Ledger,
        health: Health,
        habits: Habits,
        room: RoomMaker,
        *,
        counter: TokenCounter,
    ) -> None:
        self._planner = planner
        self._ledger = ledger
        self._health = health
        self._habits = habits
        self._room = room
        self._counter = counter

    async def estimate(self, call: Call) -> Estimate:
        """See `Estimates`."""
        await self._habits.refresh()
        asked = await self._planner.ask(call, captures_content=False, keeps_refusal=True)
        try:
            prospect = await self._look(asked)
        finally:
            self._planner.give_turn_back(asked)
        usable = [
            await self._priced(call, Outlook(deployment=candidate.deployment, candidate=candidate, binding=binding))
            for candidate, binding in zip(asked.candidates, prospect.binding, strict=True)
        ]
        taken = {it.deployment.id for it in usable}
        others = [await self._left_out(asked, target) for target in asked.route.targets if target.id not in taken]
        outlooks = (*usable, *[await self._priced(call, outlook) for outlook in others])
        ending = self._ending(asked, usable, prospect)
        return msgspec.structs.replace(ending, outlooks=outlooks)

    def first_of(self, call: Call) -> Deployment:
        """The first deployment of its route. Raises UnknownModel and RouteForbidden."""
        return self._planner.route_of(call).targets[0]

    async def count(self, call: Call, deployment: Deployment) -> int:
        """About how much of this call the deployment would read, in tokens."""
        prompt = await self._counter.count_prompt(call, deployment.encoding)
        return self._health.token_estimates.estimated_tokens(deployment.id, prompt)

    async def _look(self, asked: Asked) -> Prospect:
        bids = tuple(candidate.bid for candidate in asked.candidates)
        now_ms = self._planner.now_ms()
        return await self._ledger.look_ahead(
            AdmitRequest(facts=asked.facts, lookup=asked.lookup, bids=bids, now_ms=now_ms)
        )

    async def _priced(self, call: Call, outlook: Outlook) -> Outlook:
        if outlook.candidate is None:
            return outlook
        prompt_tokens = await self.count(call, outlook.deployment)
        costing = partial(self._costs, outlook.candidate, prompt_tokens)
        return msgspec.structs.replace(outlook, costs=await aside(costing, size=call.body_bytes))

    def _costs(self, candidate: Candidate, prompt_tokens: int) -> Costs:
        usual = self._habits.usually_written(candidate.deployment.id)
        return costs_of(candidate, prompt_tokens, usual or ASSUMED, is_assumed=usual is None)

    async def _left_out(self, asked: Asked, target: Deployment) -> Outlook:
        """A deployment that is not among the candidates, and why."""
        try:
            candidate = await aside(partial(self._planner.alone, asked, target), size=asked.call.body_bytes)
        except RouterError as error:
            return Outlook(deployment=target, skipped=_REASONS[type(error)])
        reason, returns_in_s = self._state(asked.call, candidate)
        return Outlook(deployment=target, candidate=candidate, skipped=reason, returns_in_s=returns_in_s)

    def _state(self, call: Call, candidate: Candidate) -> tuple[Reason, float | None]:
        """What keeps calls from a deployment that could take this one. None: time alone does not help."""
        health, name = self._health, candidate.deployment.id
        if away_s := health.hints.returns_in_s(name):
            return "blocked", away_s
        if away_s := health.pacing.returns_in_s(name):
            return "paced", away_s
        if away_s := health.returns_in_s(name):
            return "open", away_s
        if health.speeds.is_too_slow(
            name, call.deadline_s, is_streamed=call.stream, allowed_tokens=candidate.allowed_tokens
        ):
            return "too_slow", None
        return "lacks_capability", None

    def _ending(self, asked: Asked, usable: Sequence[Outlook], prospect: Prospect) -> Estimate:
        """What it comes to: as `router.gateway` goes on from what was admitted."""
        route, first = asked.route.name, usable[0] if usable else None
        if prospect.is_stored:
            return Estimate(route=route, verdict="hit", chosen=first)
        if prospect.is_in_flight:
            return Estimate(route=route, verdict="follow", chosen=first)
        if isinstance(prospect.fit, Refused):
            return self._without_room(asked, usable, prospect.fit)
        if prospect.fit is None:
            if not isinstance(asked.refusal, _PASSES):
                raise asked.refusal
            is_paced = self._planner.may_wait_out_pacing(asked)
            return Estimate(route=route, verdict="wait" if is_paced else "refuse", refusal=asked.refusal)
        self._room.mind_the_line(asked)
        verdict: Verdict = "wait" if asked.behind else "lead"
        return Estimate(route=route, verdict=verdict, chosen=usable[prospect.fit])

    def _without_room(self, asked: Asked, usable: Sequence[Outlook], refused: Refused) -> Estimate:
        chosen = usable[refused.bid]
        assert chosen.candidate is not None
        assert chosen.costs is not None
        shorter = None
        if refused.may_clamp:
            shorter = clamped(chosen.candidate, refused.room_nanousd, refused.room_tokens)
        if shorter is not None:
            costs = self._costs(shorter, chosen.costs.prompt_tokens)
            chosen = msgspec.structs.replace(chosen, candidate=shorter, costs=costs)
            return Estimate(route=asked.route.name, verdict="clamp", chosen=chosen, clamped=shorter.clamped)
        wait_s = next_look_s(refused, now_ms=self._planner.now_ms(), left_s=asked.call.deadline_s)
        verdict: Verdict = "refuse" if wait_s is None else "wait"
        return Estimate(route=asked.route.name, verdict=verdict, chosen=chosen, refusal=refused.error)


def costs_of(candidate: Candidate, prompt_tokens: int, usual: Written, *, is_assumed: bool) -> Costs:
    """What a call costs there at least, probably and at most. Pure."""
    price = candidate.deployment.price
    assert price is not None, "plan leaves out what has no price"
    read = min(prompt_tokens, candidate.read_tokens)
    written = shortened(usual, candidate.allowed_tokens)
    most = candidate.held_nanousd
    least = min(most, price.cost_nanousd(Usage(input_tokens=read)))
    likely = price.cost_nanousd(
        Usage(input_tokens=read, output_tokens=written.output, reasoning_tokens=written.reasoning)
    )
    return Costs(
        least_nanousd=least,
        likely_nanousd=max(least, min(most, likely)),
        most_nanousd=most,
        prompt_tokens=prompt_tokens,
        written=written,
        is_assumed=is_assumed,
    )


def shortened(written: Written, limit: int | None) -> Written:
    """An answer within a limit in all, what is thought first. limit None: there is none."""
    if limit is None or written.output + written.reasoning <= limit:
        return written
    reasoning = min(written.reasoning, limit)
    return Written(output=limit - reasoning, reasoning=reasoning)
