"""The OTLP/HTTP client: one request at a time, repeated while that can help. Used by one thread only.

Source: OTLP specification, "OTLP/HTTP Response": Retry-After is heeded.
"""

import gzip
import random
import threading
import time
import zlib
from functools import cached_property
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from telemetry.environment import CollectorSettings

if TYPE_CHECKING:
    from telemetry.poster import Poster

PAUSES_S: Final = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0)
# Not all callers at the same moment again.
JITTER: Final = 0.2


class Collector:
    """Sends spans to one endpoint."""

    def __init__(self, settings: CollectorSettings, *, user_agent: str) -> None:
        self.host = urlsplit(settings.url).hostname or ""
        # Why the last request was not taken; empty if it was.
        self.reason = ""
        self._settings = settings
        self._stopping = threading.Event()
        self._stop_at_s = float("inf")
        self._user_agent = user_agent

    @cached_property
    def _poster(self) -> "Poster":
        # Its HTTP client takes a tenth of a second to load, which the thread does that has something to send.
        from telemetry.poster import Poster

        return Poster(self._settings, user_agent=self._user_agent)

    @property
    def is_over(self) -> bool:
        """True once nothing more will be sent."""
        return time.monotonic() >= self._stop_at_s

    def stop_at(self, moment_s: float) -> None:
        """From now on repeat nothing, and from that monotonic moment on send nothing. For any thread."""
        self._stop_at_s = moment_s
        self._stopping.set()

    def close(self) -> None:
        """Give the connection up."""
        if "_poster" in self.__dict__:
            self._poster.close()

    def send(self, request: bytes) -> bool:
        """Whether the collector took it, within the timeout for all tries together."""
        body, poster = self._compressed(request), self._poster
        give_up_at_s = time.monotonic() + self._settings.timeout_s
        for pause_s in PAUSES_S:
            left_s = min(give_up_at_s, self._stop_at_s) - time.monotonic()
            if left_s <= 0:
                break
            answer = poster.post(body, timeout_s=left_s)
            self.reason = answer.reason
            if answer.is_taken or not answer.may_repeat:
                return answer.is_taken
            wait_s = answer.retry_after_s
            if wait_s is None:
                wait_s = pause_s * random.uniform(1 - JITTER, 1 + JITTER)  # noqa: S311  Nobody gains by guessing it.
            if time.monotonic() + wait_s >= give_up_at_s or self._stopping.wait(wait_s):
                break
        self.reason = self.reason or "no time left"
        return False

    def _compressed(self, request: bytes) -> bytes:
        match self._settings.compression:
            case "gzip":
                return gzip.compress(request, compresslevel=6)
            case "deflate":
                return zlib.compress(request)
            case "none":
                return request
