"""What to ask the ledger for a call: its plan as things are now, and again once a provider wants to be asked."""

import asyncio
import time
from typing import Protocol

from ledger.ledger import Ledger
from router.asked import Asked, SharingRules, attribution_of, facts_of, lookup_of
from router.bounds import input_bound_tokens
from router.call import Call
from router.deployments import Route
from router.errors import NoDeploymentAvailable, NotCached, RouterError
from router.health import Health
from router.plan import Candidate, plan
from router.tokens import TokenCounter


class Routes(Protocol):
    """Where route names are looked up."""

    def resolve(self, model: str | None) -> Route:
        """The route of this name, or of one `provider:model`. Raises UnknownModel."""


class Planner:
    """Plans calls with what the config, the ledger's ceilings and the deployments' health say."""

    def __init__(
        self, routes: Routes, ledger: Ledger, health: Health, sharing: SharingRules, counter: TokenCounter
    ) -> None:
        self._counter = counter
        self._routes = routes
        self._ledger = ledger
        self._health = health
        self._sharing = sharing

    async def ask(self, call: Call, *, captures_content: bool) -> Asked:
        """What to ask the ledger. A call that may not go out may still be answered from what is stored or in flight."""
        route = self._routes.resolve(call.model)
        lookup, ttl_s, replaces = lookup_of(call, route, self._sharing)
        prompt_tokens = await self._count_long(call, route)
        candidates: tuple[Candidate, ...] = ()
        refusal: RouterError = NotCached()
        if call.cache.mode != "only":
            try:
                candidates = self._plan(call, route, prompt_tokens)
            except RouterError as error:
                if lookup is None and call.idempotency is None and not self._paced(route):
                    raise
                refusal = error
        return Asked(
            call=call,
            route=route,
            facts=facts_of(call, route),
            lookup=lookup,
            storing_ttl_s=ttl_s,
            replaces_stored=replaces,
            candidates=candidates,
            refusal=refusal,
            began_s=time.monotonic(),
            began_at_ns=time.time_ns(),
            deadline_s=asyncio.get_running_loop().time() + call.deadline_s,
            captures_content=captures_content,
            prompt_tokens=prompt_tokens,
        )

    async def wait_out_pacing(self, asked: Asked) -> None:
        """Wait for the first deployment that only its provider's word keeps calls from, and plan anew.

        Raises the call's refusal where there is none, or it returns past the deadline.
        """
        paced = self._paced(asked.route)
        if not paced or not isinstance(asked.refusal, NoDeploymentAvailable):
            raise asked.refusal
        wait_s = min(self._health.returns_in_s(deployment_id) for deployment_id in paced)
        if asyncio.get_running_loop().time() + wait_s >= asked.deadline_s:
            raise asked.refusal
        await asyncio.sleep(wait_s)
        asked.was_paced = True
        try:
            asked.candidates = self._plan(asked.call, asked.route, asked.prompt_tokens)
        except RouterError as error:
            asked.refusal = error

    async def _count_long(self, call: Call, route: Route) -> int | None:
        """The tokens of a call that may be too long for one of its deployments. None: it is not."""
        windows = [target.context_window for target in route.targets if target.context_window is not None]
        if not windows or input_bound_tokens(call.body, None) <= min(windows):
            return None
        return await self._counter.count_call(call.body, route.targets[0].encoding)

    def _plan(self, call: Call, route: Route, prompt_tokens: int | None) -> tuple[Candidate, ...]:
        attribution = attribution_of(call)
        returns_in_s = {target.id: self._health.returns_in_s(target.id) for target in route.targets}
        candidates = plan(
            call,
            route,
            is_limited=lambda deployment_id: self._ledger.has_ceiling(deployment_id, attribution),
            returns_in_s=returns_in_s,
            asked_as=self._health.hints.asked_as,
            prompt_tokens=prompt_tokens,
        )
        return tuple(sorted(candidates, key=self._is_slow)) if len(candidates) > 1 else candidates

    def _is_slow(self, candidate: Candidate) -> bool:
        """Whether its first outputs take longer than its config has patience for: then it is tried after the others."""
        threshold_s = candidate.deployment.latency_threshold_s
        if threshold_s is None:
            return False
        usual_s = self._health.usual_first_output_s(candidate.deployment.id)
        return usual_s is not None and usual_s > threshold_s

    def _paced(self, route: Route) -> list[str]:
        return [target.id for target in route.targets if self._health.is_only_paced(target.id)]
