"""How long a call is for the first deployment of its route: as its provider counts, where that is free, else as we do.

A count is no attempt: nothing is held, nobody pays, no report shows it. It must not stand in the way of calls that are,
nor say anything about the deployment: no breaker counts it, no pace is set by it, no place is waited for.
"""

import asyncio
import logging
from collections.abc import Mapping
from functools import partial
from typing import Any, Final, Literal, Protocol

import msgspec

from router.call import Call
from router.deployments import Deployment, Dialect
from router.dialects import fitted, spoken
from router.errors import Inexpressible
from router.estimating import Estimator
from router.faults import Fault
from router.gates import Gates, NoPlace
from router.health import Health
from router.large import aside
from router.providers.upstream import CountsTokens

# Who asks for a count wants to go on by it: a better one is not worth more time.
WITHIN_S: Final = 5.0

log = logging.getLogger(__name__)


class TokenCount(msgspec.Struct, frozen=True):
    """How many tokens a call has, and who says so."""

    tokens: int
    by: Literal["provider", "here"]


class TokenCounts(Protocol):
    """Tells how long calls are."""

    async def count(self, call: Call) -> TokenCount:
        """How much of this call its route's first deployment would read; about, where it is counted here.

        Raises UnknownModel and RouteForbidden. That its provider fails is no error.
        """


class Counts:
    """Implements `TokenCounts`. counting: {dialect: who asks its providers}."""

    def __init__(
        self, estimator: Estimator, counting: Mapping[Dialect, CountsTokens], *, gates: Gates, health: Health
    ) -> None:
        self._estimator = estimator
        self._counting = counting
        self._gates = gates
        self._health = health

    async def count(self, call: Call) -> TokenCount:
        """See `TokenCounts`."""
        deployment = self._estimator.first_of(call)
        tokens = await self._ask(call, deployment)
        if tokens is not None:
            return TokenCount(tokens, "provider")
        return TokenCount(await self._estimator.count(call, deployment), "here")

    async def _ask(self, call: Call, deployment: Deployment) -> int | None:
        """As its provider counts. None: it is not asked, or does not say."""
        provider = deployment.provider
        counting = self._counting.get(provider.dialect)
        if counting is None or not provider.counts_tokens or self._health.returns_in_s(deployment.id):
            return None
        try:
            body = await aside(partial(_said, call, deployment), size=call.body_bytes)
            async with asyncio.timeout(min(WITHIN_S, call.deadline_s / 2)), self._gates.gate(provider).pass_if_free():
                return await counting.count_tokens(deployment, body, headers=call.forwarded_headers)
        except (Inexpressible, NoPlace, Fault, TimeoutError) as error:
            log.debug("%s is not asked for a count, or did not give one: %s", deployment.id, type(error).__name__)
            return None


def _said(call: Call, deployment: Deployment) -> dict[str, Any]:
    """The call in the deployment's words. Raises Inexpressible."""
    body, _ = spoken(call.body, deployment, "")
    body, _ = fitted(body, deployment)
    return body
