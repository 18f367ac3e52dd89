"""Gates: at most so many attempts at one provider at once. Waiting is first come, first served."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

from router.deployments import Provider


class Gate:
    """One provider's permits. limit None: no bound."""

    def __init__(self, limit: int | None) -> None:
        self.limit = limit
        self.in_use = 0
        self._permits = asyncio.Semaphore(limit) if limit is not None else None

    @asynccontextmanager
    async def pass_through(self) -> AsyncIterator[None]:
        """Hold a permit for the length of the block; wait for one as long as the caller's own limit allows."""
        if self._permits is not None:
            await self._permits.acquire()
        self.in_use += 1
        try:
            yield
        finally:
            self.in_use -= 1
            if self._permits is not None:
                self._permits.release()


class Gates:
    """{provider name: its gate}."""

    def __init__(self, providers: Iterable[Provider]) -> None:
        self._gates = {provider.name: Gate(provider.max_concurrency) for provider in providers}

    def gate(self, provider: Provider) -> Gate:
        """The provider's gate, made on first sight for one that is not in the config."""
        return self._gates.setdefault(provider.name, Gate(provider.max_concurrency))
