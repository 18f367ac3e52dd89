"""What must hold of the targets of alerts, and how they are called. Neither an address nor a secret is ever shown."""

from collections.abc import Iterator, Sequence
from typing import Final
from urllib.parse import SplitResult, urlsplit

from ledger.events import types_matching
from service.alerts.notifier import why_not
from service.alerts.signature import key_of
from service.config.model import AlertSection
from service.config.names import is_loopback, is_name
from service.config.problems import Problem

MAX_URL_CHARS: Final = 2048
SHORTEST_SECRET: Final = 12


def is_webhook(url: str) -> bool:
    """Whether it is an address to post to. Any other scheme is for Apprise to know."""
    return url.partition(":")[0].lower() in {"http", "https"}


def target_name(section: AlertSection) -> str:
    """What it is called wherever it is shown: its name, else a webhook's host, else the scheme of an Apprise URL.

    The rest of an Apprise URL, its host too, may be a secret: slack://TOKEN/…
    """
    if section.name is not None:
        return section.name
    if not is_webhook(section.url):
        return section.url.partition(":")[0].lower()
    parts = _parts(section.url)
    return (parts.hostname if parts else None) or ""


def secrets_of(section: AlertSection) -> Iterator[str]:
    """What no log shows: the secret, the address, and of it what comes after the host, which errors may quote alone."""
    if section.secret:
        yield section.secret
    yield section.url
    rest = section.url.partition("://")[2]
    told = rest.partition("/")[2] if is_webhook(section.url) else rest
    # What is shorter is a common word, and hiding it would garble other lines.
    if len(told) >= SHORTEST_SECRET:
        yield told


def alert_problems(sections: Sequence[AlertSection]) -> Iterator[Problem]:
    """Every rule that these targets break."""
    seen: set[str] = set()
    for index, section in enumerate(sections):
        place = f"alerts[{index}]"
        name = target_name(section)
        if section.name is not None and not is_name(section.name):
            yield Problem(f"{place}.name", f"{section.name!r} must be made of letters, digits, '.', '_' and '-'")
        elif name in seen:
            yield Problem(f"{place}.name", f"{name!r} is there twice; give each a name of its own")
        seen.add(name)
        yield from _event_problems(place, section)
        yield from _webhook_problems(place, section) if is_webhook(section.url) else _other_problems(place, section)


def _event_problems(place: str, section: AlertSection) -> Iterator[Problem]:
    if not section.events:
        yield Problem(f"{place}.events", "must name at least one; leave it out for all")
    for index, pattern in enumerate(section.events):
        if not types_matching([pattern]):
            known = ", ".join(types_matching(["*"]))
            yield Problem(
                f"{place}.events[{index}]", f"{pattern!r} is no event, nor a pattern of any; there are {known}"
            )


def _webhook_problems(place: str, section: AlertSection) -> Iterator[Problem]:
    parts = _parts(section.url)
    if parts is None:
        yield Problem(f"{place}.url", "is no http:// or https:// address")
    elif parts.username is not None or parts.password is not None:
        yield Problem(f"{place}.url", "must not have a user or password in it")
    elif parts.fragment:
        yield Problem(f"{place}.url", "must end with its path or query")
    elif parts.scheme == "http" and not section.plain_http and not is_loopback(parts.hostname or ""):
        text = "is not https: anybody on the way could read it. If that does no harm there, set plain_http = true"
        yield Problem(f"{place}.url", text)
    if section.secret is not None and not key_of(section.secret):
        yield Problem(f"{place}.secret", "is empty; leave it out for messages that are not signed")


def _other_problems(place: str, section: AlertSection) -> Iterator[Problem]:
    if section.secret is not None:
        yield Problem(f"{place}.secret", "is for a webhook, an http:// or https:// address")
    if (text := why_not(section.url)) is not None:
        yield Problem(f"{place}.url", text)


def _parts(url: str) -> SplitResult | None:
    """None: it cannot be asked."""
    try:
        parts = urlsplit(url)
        is_address = bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        return None
    is_sendable = len(url) <= MAX_URL_CHARS and url.isascii() and url.isprintable() and " " not in url
    return parts if is_address and is_sendable else None
