"""What addresses in a config must look like. Wrong ones are never shown: a secret may be in them. Pure."""

from collections.abc import Iterator
from urllib.parse import urlsplit

from service.config.names import is_model_name
from service.config.problems import Problem


def address_problems(place: str, url: str) -> Iterator[Problem]:
    """What is wrong with the address of an HTTP server, which paths are added to."""
    try:
        parts = urlsplit(url)
        is_address = parts.scheme in {"http", "https"} and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        is_address = False
    if not is_address or not is_model_name(url):
        yield Problem(place, "is no http:// or https:// address")
    elif parts.username is not None or parts.password is not None:
        yield Problem(place, "must not have a user or password in it")
    elif parts.query or parts.fragment:
        yield Problem(place, "must end with its path")
    elif parts.path.rstrip("/").endswith("/chat/completions"):
        yield Problem(place, "is without /chat/completions, which is added")


def is_proxy(url: str) -> bool:
    """Whether it is the address of a proxy, which may need a user and a password."""
    try:
        parts = urlsplit(url)
        is_address = parts.scheme == "http" and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        return False
    return is_address and is_model_name(url) and parts.path in {"", "/"} and not parts.query and not parts.fragment


def in_url(host: str) -> str:
    """A host as it stands in a URL: an IPv6 address in brackets."""
    return f"[{host}]" if ":" in host else host
