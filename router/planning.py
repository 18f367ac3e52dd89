"""What to ask the ledger for a call: its plan as things are now, and again once a provider wants to be asked."""

import asyncio
import time
from collections.abc import Callable
from functools import partial
from typing import Final, Protocol

import msgspec

from ledger.ceilings import Unit
from ledger.ledger import Ledger
from ledger.values import Admission, Hit, Lead, Refused, StoredElsewhere
from router.asked import Asked, SharingRules, facts_of, lookup_of
from router.bounds import input_bound_tokens
from router.call import Call
from router.deployments import Deployment, Route
from router.errors import (
    DeadlineExceeded,
    NoDeploymentAvailable,
    NotCached,
    Overloaded,
    RouteForbidden,
    RouterError,
    UnknownModel,
)
from router.health import Health
from router.large import aside
from router.likely import LikelyHits
from router.ordering import Ordering, Planned, in_order
from router.plan import Candidate, plan
from router.pressure import Pressures
from router.strategy import cheaper_first
from router.tokens import TokenCounter
from router.unpriced import Unpriced

# How soon a call that waits hears of a provider's newer word.
LOOK_S: Final = 0.1


class Routes(Protocol):
    """Where route names are looked up."""

    def resolve(self, model: str | None) -> Route:
        """The route of this name, or of one `provider:model`. Raises UnknownModel."""


class Planner:
    """Plans calls with what the config, the ledger's ceilings and the deployments' health say."""

    def __init__(
        self,
        routes: Routes,
        ledger: Ledger,
        health: Health,
        ordering: Ordering,
        sharing: SharingRules,
        *,
        counter: TokenCounter,
        clock_ms: Callable[[], int],
    ) -> None:
        self._counter = counter
        self._routes = routes
        self._ledger = ledger
        self._health = health
        self._ordering = ordering
        self._sharing = sharing
        self._clock_ms = clock_ms
        self._pressures = Pressures()
        self.unpriced = Unpriced()
        self._likely_hits = LikelyHits()

    def route_of(self, call: Call) -> Route:
        """The route that the call names. Raises UnknownModel and RouteForbidden, which name no route of others."""
        allowed = call.allowed_routes
        try:
            route = self._routes.resolve(call.model)
        except UnknownModel as error:
            raise UnknownModel(error.model, allowed or error.routes) from error
        if allowed and route.name not in allowed:
            raise RouteForbidden(route.name, allowed)
        return route

    async def ask(self, call: Call, *, captures_content: bool, keeps_refusal: bool = False) -> Asked:
        """What to ask the ledger. A call that may not go out may still be answered from what is stored or in flight.

        One that is likely to be is planned only once it was not. keeps_refusal: whoever asks wants to know why another
        call may not go out, rather than be refused at once.
        """
        route = self.route_of(call)
        lookup, ttl_s, replaces = await aside(lambda: lookup_of(call, route, self._sharing), size=call.body_bytes)
        asked = Asked(
            call=call,
            route=route,
            facts=facts_of(call, route),
            lookup=lookup,
            storing_ttl_s=ttl_s,
            replaces_stored=replaces,
            candidates=(),
            refusal=NotCached(),
            began_s=time.monotonic(),
            began_at_ns=time.time_ns(),
            deadline_s=asyncio.get_running_loop().time() + call.deadline_s,
            captures_content=captures_content,
            is_planned=call.cache.mode == "only",
        )
        is_likely_hit = lookup is not None and lookup.reads and lookup.cache_key in self._likely_hits
        if not asked.is_planned and (keeps_refusal or not is_likely_hit):
            await self.plan(asked, keeps_refusal=keeps_refusal)
        return asked

    async def plan(self, asked: Asked, *, keeps_refusal: bool = False) -> None:
        """Find where the call may go, for the first time. Raises its refusal where nothing else can answer it."""
        call, route = asked.call, asked.route
        asked.is_planned = True
        asked.prompt_tokens = await self._count_long(call, route)
        await self._plan_again(asked, left_s=call.deadline_s)
        may_be_answered = asked.lookup is not None or call.idempotency is not None or self._paced(route)
        if not asked.candidates and not may_be_answered and not keeps_refusal:
            raise asked.refusal

    def now_ms(self) -> int:
        """Wall time, as the ledger has it."""
        return self._clock_ms()

    def alone(self, asked: Asked, target: Deployment) -> Candidate:
        """What one deployment of its route would be asked, whatever state it is in.

        Raises RouterError: it could never be asked this.
        """
        attribution = asked.facts.attribution
        (candidate,) = plan(
            asked.call,
            msgspec.structs.replace(asked.route, targets=(target,)),
            limited_units=lambda deployment_id: self._limited_units(deployment_id, attribution),
            returns_in_s={},
            asked_as=self._health.hints.asked_as,
            prompt_tokens=asked.prompt_tokens,
        )
        return candidate

    def may_wait_out_pacing(self, asked: Asked) -> bool:
        """Whether a refused call is one for `wait_out_pacing`, and some provider's word ends within its deadline."""
        if not isinstance(asked.refusal, NoDeploymentAvailable):
            return False
        return any(self._health.returns_in_s(name) < asked.call.deadline_s for name in self._paced(asked.route))

    def give_turn_back(self, asked: Asked) -> None:
        """A call that is answered without going out leaves its turn, if it still has it, to the next one."""
        if asked.turn is not None:
            self._ordering.give_back(asked.turn)
            asked.turn = None

    def note(self, asked: Asked, admission: Admission) -> None:
        """Remember which ceilings it found nearly full, and whether its answer was stored."""
        if isinstance(admission, Lead | Refused):
            self._pressures.note(admission.pressures)
        if asked.lookup is not None and asked.lookup.reads:
            self._likely_hits.note(asked.lookup.cache_key, is_hit=isinstance(admission, Hit | StoredElsewhere))

    async def wait_out_pacing(self, asked: Asked, *, is_stopped: Callable[[], bool]) -> None:
        """Wait for the first deployment that only its provider's word keeps calls from, and plan anew.

        A newer word may come meanwhile. Raises the call's refusal where there is none to wait for, or all return past
        the deadline, and Overloaded once this process stops.
        """
        paced = self._paced(asked.route)
        if not paced or not isinstance(asked.refusal, NoDeploymentAvailable):
            raise asked.refusal
        loop = asyncio.get_running_loop()
        while wait_s := min(map(self._health.returns_in_s, paced)):
            if loop.time() + wait_s >= asked.deadline_s:
                break
            if is_stopped():
                raise Overloaded
            asked.was_paced = True
            await asyncio.sleep(min(wait_s, LOOK_S))
        await self._plan_again(asked, left_s=asked.deadline_s - loop.time())
        if wait_s and not asked.candidates:
            raise asked.refusal

    async def _plan_again(self, asked: Asked, *, left_s: float) -> None:
        try:
            planned = await self._plan(asked, left_s=left_s)
        except RouterError as error:
            asked.refusal = error
        else:
            asked.candidates, asked.turn, asked.pressed_by = planned.candidates, planned.turn, planned.pressed_by

    async def _count_long(self, call: Call, route: Route) -> int | None:
        """The tokens of a call that may be too long for one of its deployments. None: it is not."""
        windows = [target.context_window for target in route.targets if target.context_window is not None]
        if not windows:
            return None
        bound = await aside(lambda: input_bound_tokens(call.body, None), size=call.body_bytes)
        if bound <= min(windows):
            return None
        return (await self._counter.count_prompt(call, route.targets[0].encoding)).tokens

    async def _plan(self, asked: Asked, *, left_s: float) -> Planned:
        call, route, attribution = asked.call, asked.route, asked.facts.attribution
        self.unpriced.note(route.targets)
        returns_in_s = {target.id: self._health.returns_in_s(target.id) for target in route.targets}
        planning = partial(
            plan,
            call,
            route,
            limited_units=lambda deployment_id: self._limited_units(deployment_id, attribution),
            returns_in_s=returns_in_s,
            asked_as=self._health.hints.asked_as,
            prompt_tokens=asked.prompt_tokens,
        )
        candidates = await aside(planning, size=call.body_bytes)
        in_time = self._answering_within(left_s, candidates, is_streamed=call.stream)
        candidates, turn = self._ordering.order(route, in_time, is_streamed=call.stream)
        if len(candidates) > 1:
            candidates = tuple(sorted(candidates, key=self._is_slow))
        pressed_by = self._pressed_by(candidates, attribution)
        if not pressed_by:
            return Planned(candidates=candidates, turn=turn)
        held_nanousd = {candidate.deployment.id: candidate.held_nanousd for candidate in candidates}
        cheaper = in_order(candidates, cheaper_first(list(held_nanousd), held_nanousd))
        return Planned(candidates=cheaper, turn=turn, pressed_by=pressed_by if cheaper != candidates else "")

    def _limited_units(self, deployment_id: str, attribution: dict[str, str]) -> set[Unit]:
        return {ceiling.unit for ceiling in self._ledger.ceilings_of(deployment_id, attribution)}

    def _answering_within(
        self, left_s: float, candidates: tuple[Candidate, ...], *, is_streamed: bool
    ) -> tuple[Candidate, ...]:
        """Without those whose fastest answer takes longer: to ask them is to pay for nothing.

        Raises DeadlineExceeded where nobody is left.
        """
        is_too_slow = self._health.speeds.is_too_slow
        in_time = tuple(
            candidate
            for candidate in candidates
            if not is_too_slow(
                candidate.deployment.id, left_s, is_streamed=is_streamed, allowed_tokens=candidate.allowed_tokens
            )
        )
        if not in_time:
            waited_for = f"an answer, of which none of late was there within the {left_s:.3f} s that are left"
            raise DeadlineExceeded(elapsed_s=0.0, waited_for=waited_for)
        return in_time

    def _pressed_by(self, candidates: tuple[Candidate, ...], attribution: dict[str, str]) -> str:
        """The nearly full ceiling that the first candidate draws on; empty: there is none, or nowhere else to go."""
        if self._pressures.are_none or len(candidates) < 2:
            return ""
        ceilings = self._ledger.ceilings_of(candidates[0].deployment.id, attribution)
        return self._pressures.first_of(ceilings, self._clock_ms())

    def _is_slow(self, candidate: Candidate) -> bool:
        """Whether its first outputs take longer than its config has patience for: then it is tried after the others."""
        threshold_s = candidate.deployment.latency_threshold_s
        if threshold_s is None:
            return False
        usual_s = self._health.usual_first_output_s(candidate.deployment.id)
        return usual_s is not None and usual_s > threshold_s

    def _paced(self, route: Route) -> list[str]:
        return [target.id for target in route.targets if self._health.is_only_paced(target.id)]
