"""Who is told of events."""

from collections.abc import Iterable
from typing import Literal
from urllib.parse import urlsplit

import msgspec

from service.alerts.signature import key_of
from service.config.alerts import is_webhook, target_name
from service.config.model import AlertSection


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """One of them. url and key are secrets: only the name and `shown` are ever told. key None: it is not signed for.

    events: patterns of the types that it wants. At most `burst` messages go to it in digest_s.
    """

    name: str
    kind: Literal["webhook", "apprise"]
    url: str
    key: bytes | None
    events: tuple[str, ...]
    digest_s: float
    burst: int

    @property
    def shown(self) -> str:
        """Its address without what may be a secret: scheme and host of a webhook, the scheme of an Apprise URL."""
        scheme, _, _ = self.url.partition(":")
        if self.kind == "apprise":
            return f"{scheme.lower()}://…"
        parts = urlsplit(self.url)
        host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
        return f"{scheme.lower()}://{host}{'' if parts.port is None else f':{parts.port}'}/…"


def targets_of(sections: Iterable[AlertSection]) -> tuple[Target, ...]:
    """The targets of a config without problems."""
    return tuple(
        Target(
            name=target_name(section),
            kind="webhook" if is_webhook(section.url) else "apprise",
            url=section.url,
            key=None if section.secret is None else key_of(section.secret),
            events=section.events,
            digest_s=section.digest_s,
            burst=section.burst,
        )
        for section in sections
    )
