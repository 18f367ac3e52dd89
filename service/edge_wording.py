"""What the edge itself says of a request that it turns away: see `service.refusals`."""

from typing import Final

from ledger.apikeys import ApiKeyOver
from service.refusals import (
    BodyTimeout,
    BodyTooLarge,
    Forbidden,
    InvalidRequest,
    MethodNotAllowed,
    NotFound,
    Unauthenticated,
    UnsupportedMediaType,
    WhyNot,
)
from service.wording import Told

_WHY_NOT: Final = {
    WhyNot.MISSING: "A key is needed here: send `Authorization: Bearer fk_…`, or `x-api-key: fk_…`. "
    "`farthing keys create` makes one.",
    WhyNot.UNKNOWN: "This key is not known here. `farthing keys list` shows those that are, "
    "`farthing keys create` makes one.",
    WhyNot.TWO: "Authorization and x-api-key hold different keys: send one of them.",
    WhyNot.REVOKED: "This key was revoked, for good. `farthing keys create` makes another.",
    WhyNot.EXPIRED: "This key has expired. `farthing keys create` makes another.",
}


def invalid_request(error: InvalidRequest, _now_ms: int) -> Told:
    return Told(f"{error.where}: {error.detail}" if error.where else error.detail, {"param": error.where or None})


def unauthenticated(error: Unauthenticated, _now_ms: int) -> Told:
    return _not_known(_WHY_NOT[error.why])


def api_key_over(_error: ApiKeyOver, _now_ms: int) -> Told:
    return _not_known("This key was revoked, or has expired. `farthing keys create` makes another.")


def forbidden(error: Forbidden, _now_ms: int) -> Told:
    return Told(error.detail)


def not_found(error: NotFound, _now_ms: int) -> Told:
    return Told(f"There is no {error.what} here. GET {error.listed_at} lists those that there are.")


def method_not_allowed(error: MethodNotAllowed, _now_ms: int) -> Told:
    allowed = ", ".join(error.allowed)
    return Told(f"This path takes {allowed}.", {"allowed": error.allowed}, headers=((b"allow", allowed),))


def body_timeout(error: BodyTimeout, _now_ms: int) -> Told:
    return Told(f"The body has to arrive whole within {error.timeout_s:g} s.")


def body_too_large(error: BodyTooLarge, _now_ms: int) -> Told:
    return Told(
        f"At most {error.limit_bytes} bytes are read; raise server.max_body_bytes to take more.",
        {"limit_bytes": error.limit_bytes},
    )


def unsupported_media_type(error: UnsupportedMediaType, _now_ms: int) -> Told:
    if error.is_encoded:
        return Told(
            "Send the body as it is: no content-encoding is taken.", {}, None, ((b"accept-encoding", "identity"),)
        )
    return Told("Send JSON in UTF-8, with the header `content-type: application/json`.")


def _not_known(detail: str) -> Told:
    """Source of the header: RFC 9110 §11.6.1, a 401 names its scheme."""
    return Told(detail, headers=((b"www-authenticate", 'Bearer realm="farthing"'),))
