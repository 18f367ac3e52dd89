"""No Idempotency-Key stays taken by a call that is over: what calls leave under their keys beside a settlement."""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, Final

from ledger.errors import LedgerUnavailable
from ledger.ledger import Ledger
from ledger.values import Keeping
from router.asked import Asked
from router.kept import freeing

KEEP_TRIES: Final = 600
KEEP_RETRY_S: Final = 1.0

log = logging.getLogger(__name__)


class Keys:
    """Writes what calls leave under their keys where no settlement does it for them."""

    def __init__(self, ledger: Ledger, own: Callable[[Coroutine[Any, Any, None]], object]) -> None:
        self._ledger = ledger
        self._own = own
        self._is_stopped = False

    def stop(self) -> None:
        """Try no more what the ledger does not take: keys of a process that has left are free."""
        self._is_stopped = True

    def keep_soon(self, keeping: Keeping | None) -> None:
        """Keep this as soon as the ledger takes it."""
        if keeping is not None:
            self._own(self._keep(keeping))

    @contextmanager
    def let_go_on_failure(self, asked: Asked) -> Iterator[None]:
        """While a call is admitted: one that followed another took its key, and may not come to an end of its own."""
        try:
            yield
        except BaseException:
            if asked.has_followed:
                self.keep_soon(freeing(asked.call))
            raise

    async def _keep(self, keeping: Keeping) -> None:
        for _ in range(KEEP_TRIES):
            try:
                await self._ledger.keep(keeping)
            except LedgerUnavailable:
                if self._is_stopped:
                    return
            else:
                return
            await asyncio.sleep(KEEP_RETRY_S)
        log.warning("an Idempotency-Key stays in progress until this process ends: the ledger takes no writes")
