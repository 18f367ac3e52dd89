"""Addresses that Apprise knows: slack://, mailto://, tgram:// and a hundred more. Source: the extra `alerts`.

Apprise is loaded when the first such address is read: it costs a second. What it logs may quote an address, and is not
let out.
"""

import asyncio
import logging
import threading
from contextlib import suppress
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from apprise import NotifyBase

_SILENT: Final = logging.CRITICAL + 1


def why_not(url: str) -> str | None:
    """Why nothing can be sent there. None: something can."""
    if find_spec("apprise") is None:
        return 'is no http:// or https:// address; for others install the extra: pip install "farthing[alerts]"'
    return "is no address that Apprise knows" if _service_at(url) is None else None


async def notify(url: str, title: str, text: str) -> bool:
    """Tell the service at this address. False: it did not take it, or not in its own time.

    Time is the caller's, too: a call that is cancelled goes on by itself, for a thread cannot be stopped.
    """
    loop = asyncio.get_running_loop()
    told: asyncio.Future[bool] = loop.create_future()

    def tell() -> None:
        was_told = _notify(url, title, text)
        # The loop may be gone by now.
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(_settle, told, was_told)

    # A daemon, so that a service that never answers keeps nobody from leaving.
    threading.Thread(target=tell, name="alert", daemon=True).start()
    return await told


def _settle(told: asyncio.Future[bool], was_told: bool) -> None:
    if not told.done():
        told.set_result(was_told)


def _notify(url: str, title: str, text: str) -> bool:
    try:
        service = _service_at(url)
        return service is not None and bool(service.notify(body=text, title=title))
    except Exception:  # noqa: BLE001  # Any of a hundred services' own; what it says may quote the address.
        return False


def _service_at(url: str) -> "NotifyBase | None":
    from apprise import Apprise

    logging.getLogger("apprise").setLevel(_SILENT)
    service: NotifyBase | None = Apprise.instantiate(url)
    return service
