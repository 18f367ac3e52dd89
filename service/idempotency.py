"""`Idempotency-Key`: which request a key stands for. Source: Stripe's rules, and the IETF draft of the header."""

import hashlib
from typing import Final

from ledger.values import IdempotencyKey
from router.cachekey import canonical
from service.headers import forwarded
from service.refusals import InvalidRequest
from service.requests import Headers
from service.strict_json import decode_object

HEADER: Final = "Idempotency-Key"
MAX_KEY_CHARS: Final = 255
_VERSION: Final = b"1"
# Beside those that go to the provider. Who asks, and for how long, changes no answer.
_ANSWER_CHANGING: Final = (b"x-farthing-cache", b"x-farthing-workflow")


def read_key(headers: Headers, *, path: str, raw: bytes, caller: str) -> IdempotencyKey | None:
    """The key that this request came under. None: under none. raw: its body, a JSON object.

    caller: whose keys these are; the same text from another caller is another key. Raises InvalidRequest.
    """
    given = headers.get(b"idempotency-key")
    if given is None:
        return None
    text = given.decode("latin-1")
    if not (1 <= len(text) <= MAX_KEY_CHARS and text.isascii() and text.isprintable()):
        raise InvalidRequest(f"must be 1 to {MAX_KEY_CHARS} printable ASCII characters", where=HEADER)
    return IdempotencyKey(caller=caller, key=text, fingerprint=fingerprint(headers, path=path, raw=raw))


def fingerprint(headers: Headers, *, path: str, raw: bytes) -> bytes:
    """32 bytes that equal requests share: neither spaces nor the order of keys counts. Each part is length-prefixed."""
    steering = {name.decode(): headers[name].decode("latin-1") for name in _ANSWER_CHANGING if name in headers}
    digest = hashlib.sha256()
    for pieces in (
        [_VERSION],
        [path.encode()],
        canonical(decode_object(raw), size=len(raw)),
        canonical({**forwarded(headers), **steering}),
    ):
        digest.update(sum(map(len, pieces)).to_bytes(8, "big"))
        for piece in pieces:
            digest.update(piece)
    return digest.digest()
