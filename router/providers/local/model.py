"""The local model as the rest of the service sees it: where it answers, if it does just now."""

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from router.providers.local.handover import ChildSettings, Serving, settings_for, usable_cores
from router.providers.local.model_file import find_model
from router.providers.local.process import Child, NotServing, open_child

FIRST_DELAY_S: Final = 0.2
MAX_DELAY_S: Final = 10.0
HEALTHY_AFTER_S: Final = 60.0

log = logging.getLogger(__name__)


class LocalModel:
    """A model that is served by a child process, and starts again when that dies."""

    def __init__(self, settings: ChildSettings) -> None:
        self._settings = settings
        self._serving: Serving | None = None
        self._ready = asyncio.Event()
        self._child: Child | None = None

    @property
    def is_ready(self) -> bool:
        """True while the child is warm and alive."""
        return self._serving is not None

    @property
    def base_url(self) -> str | None:
        """Where it answers in the OpenAI format. None while it does not; another after each restart."""
        return f"{self._serving.url}/v1" if self._serving is not None else None

    @property
    def api_key(self) -> str:
        """What it asks of its callers. Made at start, known to nobody else."""
        return self._settings.api_key

    @property
    def context_window(self) -> int:
        """Tokens that one call may fill, prompt and output together. Before it serves: the most it will be."""
        return self._serving.context_window if self._serving is not None else self._settings.slot_context_tokens

    @property
    def pid(self) -> int | None:
        """The child's process id. None while there is none."""
        return self._child.pid if self._child is not None else None

    async def wait_ready(self, timeout_s: float) -> bool:
        """Wait at most so long for it to be ready. Whether it is."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._ready.wait()
        except TimeoutError:
            return self.is_ready
        return True

    async def keep_running(self) -> None:
        """Run child after child, until cancelled."""
        delay_s = FIRST_DELAY_S
        while True:
            healthy_s = await self._run_once()
            delay_s = FIRST_DELAY_S if healthy_s >= HEALTHY_AFTER_S else delay_s
            log.error("the local model starts again in %.1f s", delay_s)
            await asyncio.sleep(delay_s)
            delay_s = min(2 * delay_s, MAX_DELAY_S)

    async def _run_once(self) -> float:
        """One child's life. How long it served, in seconds."""
        loop = asyncio.get_running_loop()
        try:
            async with open_child(self._settings) as child:
                self._child = child
                self._serving = await child.serving()
                self._ready.set()
                serving_since_s = loop.time()
                status = await child.ended()
                return loop.time() - serving_since_s
        finally:
            pass
