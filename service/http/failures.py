"""What Litestar could not route, and what a handler raised, as problems."""

from typing import Any

from litestar import Request, Response
from litestar.exceptions import HTTPException, MethodNotAllowedException, NotFoundException

from service.http.exchange import exchange_of
from service.refusals import InvalidRequest, MethodNotAllowed, NotFound


def answer_failure(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    """The problem that this exception is. Litestar's own are translated here."""
    problem, headers, body = exchange_of(request.scope).problem(_translated(error))
    named = {name.decode(): value.decode("latin-1") for name, value in headers}
    media_type = named.pop("content-type")
    return Response(body, status_code=problem.status, headers=named, media_type=media_type)


def _translated(error: Exception) -> Exception:
    match error:
        case MethodNotAllowedException():
            return MethodNotAllowed(_allowed(error))
        case NotFoundException():
            return NotFound("such path")
        case HTTPException() if error.status_code < 500:
            return InvalidRequest("the request could not be read")
        case _:
            return error


def _allowed(error: MethodNotAllowedException) -> tuple[str, ...]:
    methods = {name.strip() for name in (error.headers or {}).get("allow", "").split(",")}
    return tuple(sorted(methods | {"HEAD"} if "GET" in methods else methods))
