"""What the router knows of its deployments, for people: `GET /router/status`."""

from collections.abc import Sequence
from typing import Any, Protocol

from router.deployments import Deployment, Route
from router.gates import Gates
from router.health import Health


class Deployments(Protocol):
    """Where the deployments come from."""

    @property
    def routes(self) -> Sequence[Route]:
        """All configured routes, in order."""


class RouterStatus:
    """Breaker, gate, success rate and latency of every deployment of every route, as this process sees them."""

    def __init__(self, deployments: Deployments, health: Health, gates: Gates) -> None:
        self._deployments = deployments
        self._health = health
        self._gates = gates

    def status(self) -> dict[str, Any]:
        """The object of CONTRACT §7, "Names in the open"."""
        known = {target.id: target for route in self._deployments.routes for target in route.targets}
        return {"deployments": [self._one(deployment) for deployment in known.values()]}

    def _one(self, deployment: Deployment) -> dict[str, Any]:
        gate = self._gates.gate(deployment.provider)
        return {
            "deployment": deployment.id,
            **self._health.report(deployment.id),
            "gate": {"in_use": gate.in_use, "limit": gate.limit},
            "hints": {},
            "token_estimate_error": None,
        }
