"""The OTLP/HTTP client: one request at a time, repeated while that can help. Used by one thread only.

Source: OTLP specification, "OTLP/HTTP Response": which statuses are repeated, and that Retry-After is heeded.
"""

import gzip
import random
import threading
import time
import zlib
from typing import Final
from urllib.parse import urlsplit

import msgspec
import requests

from telemetry.environment import CollectorSettings

RETRIED_STATUSES: Final = frozenset({429, 502, 503, 504})
PAUSES_S: Final = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0)
# Not all callers at the same moment again.
JITTER: Final = 0.2
MAX_ANSWER_BYTES: Final = 65_536


class _Answer(msgspec.Struct, frozen=True):
    """reason: why it was not taken, without any text of the exception: that may hold a header or a key."""

    is_taken: bool = False
    may_repeat: bool = False
    retry_after_s: float | None = None
    reason: str = ""


class Collector:
    """Sends spans to one endpoint."""

    def __init__(self, settings: CollectorSettings, *, user_agent: str) -> None:
        self.host = urlsplit(settings.url).hostname or ""
        # Why the last request was not taken; empty if it was.
        self.reason = ""
        self._settings = settings
        self._stopping = threading.Event()
        self._stop_at_s = float("inf")
        self._session = requests.Session()
        self._session.headers.update({"user-agent": user_agent, "content-type": "application/x-protobuf"})
        self._session.headers.update(settings.headers)
        if settings.compression != "none":
            self._session.headers["content-encoding"] = settings.compression
        self._session.verify = settings.ca_file or True
        if settings.client_cert_file:
            key_file = settings.client_key_file
            self._session.cert = (settings.client_cert_file, key_file) if key_file else settings.client_cert_file

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
        self._session.close()

    def send(self, request: bytes) -> bool:
        """Whether the collector took it, within the timeout for all tries together."""
        body = self._compressed(request)
        give_up_at_s = time.monotonic() + self._settings.timeout_s
        for pause_s in PAUSES_S:
            left_s = min(give_up_at_s, self._stop_at_s) - time.monotonic()
            if left_s <= 0:
                break
            answer = self._post(body, left_s)
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

    def _post(self, body: bytes, timeout_s: float) -> _Answer:
        try:
            with self._session.post(
                self._settings.url, data=body, timeout=timeout_s, allow_redirects=False, stream=True
            ) as response:
                # A body that has been read leaves the connection fit for the next request.
                response.raw.read(MAX_ANSWER_BYTES)
                status, retry_after = response.status_code, response.headers.get("retry-after", "")
        except (requests.ConnectionError, requests.Timeout) as error:
            return _Answer(may_repeat=True, reason=type(error).__name__)
        except requests.RequestException as error:
            return _Answer(reason=type(error).__name__)
        if 200 <= status < 300:
            return _Answer(is_taken=True)
        retry_after_s = float(retry_after) if retry_after.isascii() and retry_after.isdigit() else None
        return _Answer(may_repeat=status in RETRIED_STATUSES, retry_after_s=retry_after_s, reason=f"status {status}")

    def _compressed(self, request: bytes) -> bytes:
        match self._settings.compression:
            case "gzip":
                return gzip.compress(request, compresslevel=6)
            case "deflate":
                return zlib.compress(request)
            case "none":
                return request
