"""What must hold of a provider by itself: of a file, of the environment, or of another gateway's config. Pure."""

import re
from collections.abc import Iterator
from typing import Final
from urllib.parse import urlsplit

from router.vendors import AZURE, AZURE_DEPLOYMENTS, COUNTING_DIALECTS, VERTEX, VERTEX_MODELS
from service.config.addresses import address_problems, is_proxy
from service.config.model import ProviderSection
from service.config.names import is_name
from service.config.problems import Problem

# {key of a provider: the dialect that it is for}
_ONLY_FOR: Final = {"responses": "openai", "model_path": "local"}
_HEADER_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,256}")
# What a request is framed by, and its place in the trace.
_OUR_HEADERS: Final = frozenset(
    {"host", "content-length", "content-type", "transfer-encoding", "connection", "accept", "accept-encoding", "expect"}
    | {"traceparent", "tracestate"}
)


def provider_problems(place: str, provider: ProviderSection) -> Iterator[Problem]:
    """What is wrong with one provider by itself."""
    if not is_name(provider.name):
        yield Problem(f"{place}.name", f"{provider.name!r} must be made of letters, digits, '.', '_' and '-'")
    if provider.api_key is not None and not (provider.api_key.isascii() and provider.api_key.isprintable()):
        yield Problem(f"{place}.api_key", "has a character in it that no header can carry")
    for key, dialect in _ONLY_FOR.items():
        if getattr(provider, key) is not None and provider.dialect != dialect:
            yield Problem(f"{place}.{key}", f'is for dialect = "{dialect}" only')
    if provider.count_tokens == "provider" and provider.dialect not in COUNTING_DIALECTS:
        yield Problem(f"{place}.count_tokens", 'is "provider" for dialect = "anthropic" and "gemini" only')
    if provider.dialect == "local":
        for key in ("base_url", "api_key", "auth_header", "headers", "query", "proxy"):
            if getattr(provider, key) not in (None, {}):
                yield Problem(f"{place}.{key}", 'dialect = "local" runs its own server; leave it out')
        return
    if provider.proxy is not None and not is_proxy(provider.proxy):
        yield Problem(f"{place}.proxy", "is no http:// address of a proxy, like http://proxy.example:3128")
    yield from _header_problems(place, provider)
    yield from _base_url_problems(place, provider)


def _base_url_problems(place: str, provider: ProviderSection) -> Iterator[Problem]:
    if provider.base_url is None:
        yield Problem(f"{place}.base_url", "is missing")
    else:
        wrong = tuple(address_problems(f"{place}.base_url", provider.base_url))
        yield from wrong or _vendor_problems(place, provider, provider.base_url.rstrip("/"))


def _vendor_problems(place: str, provider: ProviderSection, base_url: str) -> Iterator[Problem]:
    """What a vendor's addresses end in, so that what is added makes a path of its API."""
    path = urlsplit(base_url).path
    if provider.dialect == "anthropic" and path.endswith("/v1"):
        yield Problem(f"{place}.base_url", "is without /v1, which is added")
    elif provider.dialect == "gemini" and VERTEX.match(base_url):
        if not path.endswith(VERTEX_MODELS):
            text = "must end in /v1/projects/PROJECT/locations/LOCATION/publishers/google at Vertex AI"
            yield Problem(f"{place}.base_url", text)
    elif provider.dialect == "gemini" and path.endswith(("/v1", "/v1beta")):
        yield Problem(f"{place}.base_url", "is without /v1beta, which is added")
    elif provider.dialect == "openai" and AZURE.match(base_url):
        if not path:
            text = "must end in /openai/v1, or in /openai/deployments/NAME, at Azure"
            yield Problem(f"{place}.base_url", text)
        if AZURE_DEPLOYMENTS in path and "api-version" not in provider.query:
            text = 'is without api-version, which Azure asks for there: query = { api-version = "2024-10-21" }'
            yield Problem(f"{place}.query", text)


def _header_problems(place: str, provider: ProviderSection) -> Iterator[Problem]:
    own = (provider.auth_header or "authorization").lower() if provider.api_key else None
    if provider.auth_header is not None and not _HEADER_NAME.fullmatch(provider.auth_header):
        yield Problem(f"{place}.auth_header", f"{provider.auth_header!r} is no header's name")
    for name, value in provider.headers.items():
        if not _HEADER_NAME.fullmatch(name):
            yield Problem(f"{place}.headers", f"{name!r} is no header's name")
        elif name.lower() in _OUR_HEADERS or name.lower() == own:
            yield Problem(f"{place}.headers.{name}", "is set by Farthing itself")
        if not (value.isascii() and value.isprintable()):
            yield Problem(f"{place}.headers.{name}", "has a character in it that no header can carry")
