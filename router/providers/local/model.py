"""The local model as the rest of the service sees it: where it answers, if it does just now."""

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Final

from ledger.loops import running
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
        # Set while a start has succeeded, and from a failed one on (once its reason is logged) to the next success.
        self._decided = asyncio.Event()
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
        """Wait at most so long for a start that is under way. Whether it is ready: False at once if a start failed."""
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._decided.wait()
        return self.is_ready

    async def keep_running(self) -> None:
        """Run child after child, until cancelled."""
        delay_s = 0.0
        while True:
            healthy_s = 0.0
            try:
                healthy_s = await self._run_once()
            except Exception:
                log.exception("the local model's process could not be run")
            if healthy_s == 0.0:
                self._decided.set()
            delay_s = restart_delay_s(delay_s, healthy_s)
            log.info("the local model starts again in %.1f s", delay_s)
            await asyncio.sleep(delay_s)

    async def _run_once(self) -> float:
        """One child's life. How long it served, in seconds; 0 if it never did."""
        healthy_s = 0.0
        try:
            async with open_child(self._settings) as child:
                self._child = child
                with suppress(NotServing):
                    healthy_s = await self._serve_from(child)
                ending = await child.stop()
        finally:
            self._child = None
        log.error("the local model ended with status %d; its last lines:\n%s", ending.status, ending.last_words)
        return healthy_s

    async def _serve_from(self, child: Child) -> float:
        loop = asyncio.get_running_loop()
        self._serving = await child.serving()
        self._decided.set()
        serving_since_s = loop.time()
        try:
            await child.ended()
        finally:
            self._decided.clear()
            self._serving = None
        return loop.time() - serving_since_s


@asynccontextmanager
async def open_local_model(model_path: str | None = None) -> AsyncIterator[LocalModel]:
    """Start the model in `model_path`, else the packaged one, and keep it running until the way out.

    Does not wait for it: a start takes about half a second for the packaged model, longer for larger ones. Raises
    LocalModelUnavailable; then no process was started.
    """
    path = find_model(model_path)
    key, is_packaged = secrets.token_urlsafe(32), model_path is None
    model = LocalModel(settings_for(str(path), key, cores=usable_cores(), is_packaged=is_packaged))
    async with running(model.keep_running(), name="local model"):
        yield model


def restart_delay_s(last_delay_s: float, healthy_s: float) -> float:
    """How long to wait before the next start, after a child that served for `healthy_s`. The first delay follows 0."""
    if healthy_s >= HEALTHY_AFTER_S:
        return FIRST_DELAY_S
    return min(max(2 * last_delay_s, FIRST_DELAY_S), MAX_DELAY_S)
