"""The dashboard: `GET /` and its files. They hold no data: what the page shows it asks of the other paths, with the key
of whoever looks at it. A browser has no key to show when it goes to an address: its refusal is the page, which asks for
one.
"""

import hashlib
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any, Final

import msgspec
from litestar import Request, Response, get
from litestar.handlers import HTTPRouteHandler

from service.headers import HeaderPairs
from service.refusals import NotFound
from service.requests import Headers

PATH: Final = "/"
INDEX: Final = "index.html"
MEDIA_TYPES: Final = {
    ".html": "text/html",
    ".js": "text/javascript",
    ".css": "text/css",
    ".svg": "image/svg+xml",
}
# Nothing from elsewhere, nothing inline: a name that some caller gave to a workflow stays text whatever is in it.
CONTENT_SECURITY_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)
_HEADERS: Final = {
    "content-security-policy": CONTENT_SECURITY_POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    # Kept, and asked for again each time: no page mixes the files of two versions.
    "cache-control": "no-cache",
}
_AnyRequest = Request[Any, Any, Any]


class Asset(msgspec.Struct, frozen=True):
    """A file of the dashboard, ready to be sent."""

    body: bytes
    media_type: str
    etag: str


def dashboard_handlers() -> Sequence[HTTPRouteHandler]:
    """The page and its files, read once."""
    assets = read_assets()

    @get(PATH)
    async def index(request: _AnyRequest) -> Response[bytes]:
        return _sent(assets[INDEX], request)

    @get("/dashboard/{name:path}")
    async def asset(request: _AnyRequest) -> Response[bytes]:
        # Looked up, never opened: no path leads out of the folder.
        found = assets.get(request.path_params["name"].removeprefix("/"))
        if found is None:
            raise NotFound("such file of the dashboard")
        return _sent(found, request)

    return index, asset


def refusal_page(path: str, headers: Headers) -> tuple[HeaderPairs, bytes] | None:
    """What a browser is shown in the place of a problem when it may not see the page: its headers and its body.

    None: it was not the page that was asked for, or not by a browser.
    """
    if path != PATH or b"text/html" not in headers.get(b"accept", b""):
        return None
    page = read_assets()[INDEX]
    sent = {"content-type": f"{page.media_type}; charset=utf-8", **_HEADERS, "vary": "accept"}
    return [(name.encode(), value.encode()) for name, value in sent.items()], page.body


@cache
def read_assets() -> Mapping[str, Asset]:
    """{path within the dashboard's folder: the file}; those that no browser asks for, such as licences, left out."""
    found: dict[str, Asset] = {}
    folders = [("", files("service") / "dashboard")]
    while folders:
        prefix, folder = folders.pop()
        for entry in folder.iterdir():
            name = prefix + entry.name
            media_type = MEDIA_TYPES.get("." + entry.name.rpartition(".")[2])
            if entry.is_dir():
                folders.append((f"{name}/", entry))
            elif media_type is not None:
                body = entry.read_bytes()
                found[name] = Asset(body, media_type, f'"{hashlib.sha256(body).hexdigest()[:32]}"')
    return found


def _sent(asset: Asset, request: _AnyRequest) -> Response[bytes]:
    """The file, or word that the browser has it already (RFC 9110 §13.1.2)."""
    headers = {**_HEADERS, "etag": asset.etag}
    known = {tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")}
    if known & {asset.etag, "*"}:
        return Response(b"", status_code=304, media_type=asset.media_type, headers=headers)
    return Response(asset.body, media_type=asset.media_type, headers=headers)
