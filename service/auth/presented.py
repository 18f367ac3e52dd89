"""The key that a request shows, as both kinds of SDK do: `Authorization: Bearer …`, or `x-api-key: …`."""

from service.auth.secret import PREFIX
from service.refusals import Unauthenticated, WhyNot
from service.requests import Headers


def presented(headers: Headers) -> bytes | None:
    """The key of our kind; what begins otherwise is a provider's, or a placeholder, and none.

    Raises Unauthenticated where two are shown that are not the same.
    """
    if b"authorization" not in headers and b"x-api-key" not in headers:
        return None
    scheme, _, token = headers.get(b"authorization", b"").partition(b" ")
    shown = (token.strip() if scheme.lower() == b"bearer" else b"", headers.get(b"x-api-key", b"").strip())
    ours = [text for text in shown if text.startswith(PREFIX)]
    if not ours:
        return None
    if all(shown) and shown[0] != shown[1]:
        raise Unauthenticated(WhyNot.TWO)
    return ours[0]
