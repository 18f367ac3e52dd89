"""OPTIONS: which methods a path takes. Litestar's own answer knows only of the first handler of a path."""

from collections.abc import Iterable, Sequence

from litestar import Response, route
from litestar.handlers import HTTPRouteHandler


def options_handlers(handlers: Iterable[HTTPRouteHandler]) -> Sequence[HTTPRouteHandler]:
    """One for each path of these handlers."""
    methods: dict[str, set[str]] = {}
    for handler in handlers:
        for path in handler.paths:
            methods.setdefault(path, {"OPTIONS"}).update(map(str, handler.http_methods))
    return [_handler(path, names | {"HEAD"} if "GET" in names else names) for path, names in methods.items()]


def _handler(path: str, methods: Iterable[str]) -> HTTPRouteHandler:
    allow = ", ".join(sorted(methods))

    @route(path, http_method=["OPTIONS"], status_code=204)
    async def options() -> Response[None]:
        return Response(None, headers={"allow": allow})

    return options
