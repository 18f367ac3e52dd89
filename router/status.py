"""What the router knows of its deployments, for people: `GET /router/status`."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import islice
from typing import Any, Final, Protocol

import msgspec

from router.breaker import Breaker
from router.deployments import Deployment, Route
from router.errors import UnknownModel
from router.gates import Gates
from router.health import Health
from router.hints import Block, LastError
from router.orders import order
from router.planning import Routes

# Callers choose their names.
MOST_CALLED_BY_NAME: Final = 200


class Deployments(Routes, Protocol):
    """Where the deployments come from."""

    @property
    def routes(self) -> Sequence[Route]:
        """All configured routes, in order."""


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """What stands between a deployment and its calls. block None: nothing was learned that does."""

    deployment: str
    breaker: Breaker
    block: Block | None
    last_error: LastError | None


class RouterStatus:
    """Breaker, gate, success rate and latency of deployments, as this process sees them."""

    def __init__(self, deployments: Deployments, health: Health, gates: Gates) -> None:
        self._deployments = deployments
        self._health = health
        self._gates = gates

    def status(self) -> dict[str, Any]:
        """The object of CONTRACT §7, "Names in the open": of deployments of routes, and of others that were called."""
        return {"deployments": [self._one(it) for it in (*self._configured().values(), *self._called_by_name())]}

    def hints(self, provider: str = "") -> dict[str, Any]:
        """The object of `GET /router/hints`: of deployments of routes and of those that anything is known of."""
        names = dict.fromkeys((*self._configured(), *sorted(self._health.hints.known())))
        wanted = [name for name in names if not provider or name.partition(":")[0] == provider]
        return {"hints": [self._hint(name) for name in wanted]}

    def standings(self) -> list[Standing]:
        """How deployments of routes, and those that anything is known of, stand."""
        names = dict.fromkeys((*self._configured(), *self._health.hints.known()))
        return [self._standing(name) for name in names]

    async def give_order(
        self, deployment_id: str, action: str, *, now_ms: int, endpoint: str = "", reason: str = ""
    ) -> dict[str, Any]:
        """Do as the operator says, and say what is known then. Raises UnknownModel, WrongOrder, LedgerError."""
        rule = order(action, now_ms=now_ms, endpoint=endpoint, reason=reason)
        if ":" not in deployment_id or self._deployments.resolve(deployment_id).targets[0].id != deployment_id:
            raise UnknownModel(deployment_id, tuple(self._configured()))
        await self._health.hints.change(deployment_id, rule)
        return self._hint(deployment_id)

    def _configured(self) -> dict[str, Deployment]:
        return {target.id: target for route in self._deployments.routes for target in route.targets}

    def _called_by_name(self) -> Iterator[Deployment]:
        """Those that anything is known of though no route has them, of providers that are still configured."""
        configured = self._configured()
        others = (name for name in self._health.hints.known() if name not in configured)
        for name in islice(others, MOST_CALLED_BY_NAME):
            with suppress(UnknownModel):
                found = self._deployments.resolve(name).targets[0]
                if found.id == name:
                    yield found

    def _standing(self, deployment_id: str) -> Standing:
        hint = self._health.hints.get(deployment_id)
        return Standing(
            deployment=deployment_id,
            breaker=self._health.breaker(deployment_id),
            block=hint.block,
            last_error=hint.last_error,
        )

    def _hint(self, deployment_id: str) -> dict[str, Any]:
        return {"deployment": deployment_id, **self._health.hints.report(deployment_id)}

    def _one(self, deployment: Deployment) -> dict[str, Any]:
        gate = self._gates.gate(deployment.provider)
        return {
            "deployment": deployment.id,
            **self._health.report(deployment.id),
            "gate": {"in_use": gate.in_use, "limit": gate.limit},
            "hints": self._health.hints.report(deployment.id),
            "token_estimate_error": self._health.token_estimates.error(deployment.id),
        }
