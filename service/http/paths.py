"""Binds the generation paths to the applications that answer them."""

from collections.abc import Mapping, Sequence
from typing import cast

from litestar import post
from litestar.handlers import HTTPRouteHandler
from litestar.types import ASGIApp

from service.http.generation import GenerationApp


def generation_handlers(apps: Mapping[str, GenerationApp]) -> Sequence[HTTPRouteHandler]:
    """One POST handler for each path. It parses nothing: the application reads the request itself."""
    # Litestar spells out every ASGI message in its types; ours are loose.
    return [_handler(path, cast("ASGIApp", app)) for path, app in apps.items()]


def _handler(path: str, app: ASGIApp) -> HTTPRouteHandler:
    @post(path, status_code=200)
    async def generate() -> ASGIApp:
        return app

    return generate
