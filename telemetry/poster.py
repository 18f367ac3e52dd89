"""One request to an OTLP collector, and what came of it. Loaded by whoever has something to send.

Source: OTLP specification, "OTLP/HTTP Response": which statuses are repeated.
"""

from typing import Final

import msgspec
import requests

from telemetry.environment import CollectorSettings

RETRIED_STATUSES: Final = frozenset({429, 502, 503, 504})
MAX_ANSWER_BYTES: Final = 65_536


class Posted(msgspec.Struct, frozen=True):
    """reason: why it was not taken, without any text of the exception: that may hold a header or a key."""

    is_taken: bool = False
    may_repeat: bool = False
    retry_after_s: float | None = None
    reason: str = ""


class Poster:
    """Posts to one endpoint, over a connection that stays."""

    def __init__(self, settings: CollectorSettings, *, user_agent: str) -> None:
        self._url = settings.url
        self._session = requests.Session()
        self._session.headers.update({"user-agent": user_agent, "content-type": "application/x-protobuf"})
        self._session.headers.update(settings.headers)
        if settings.compression != "none":
            self._session.headers["content-encoding"] = settings.compression
        self._session.verify = settings.ca_file or True
        if settings.client_cert_file:
            key_file = settings.client_key_file
            self._session.cert = (settings.client_cert_file, key_file) if key_file else settings.client_cert_file

    def close(self) -> None:
        """Give the connection up."""
        self._session.close()

    def post(self, body: bytes, *, timeout_s: float) -> Posted:
        """Send this body, and wait so long for the answer's beginning."""
        try:
            with self._session.post(
                self._url, data=body, timeout=timeout_s, allow_redirects=False, stream=True
            ) as response:
                # A body that has been read leaves the connection fit for the next request.
                response.raw.read(MAX_ANSWER_BYTES)
                status, retry_after = response.status_code, response.headers.get("retry-after", "")
        except (requests.ConnectionError, requests.Timeout) as error:
            return Posted(may_repeat=True, reason=type(error).__name__)
        except requests.RequestException as error:
            return Posted(reason=type(error).__name__)
        if 200 <= status < 300:
            return Posted(is_taken=True)
        retry_after_s = float(retry_after) if retry_after.isascii() and retry_after.isdigit() else None
        return Posted(may_repeat=status in RETRIED_STATUSES, retry_after_s=retry_after_s, reason=f"status {status}")
