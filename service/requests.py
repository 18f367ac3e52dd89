"""The request as it comes in: its body, read within bounds, and the headers that count."""

import io
from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from typing import Any, Final

from router.until import Until, within
from service.refusals import BodyTimeout, BodyTooLarge, InvalidRequest, Refusal, UnsupportedMediaType

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Headers = Mapping[bytes, bytes]

# A client that is refused for its length may still be writing: so much is read and thrown away, so that it sees why.
_DRAINED_BYTES: Final = 128 * 1024 * 1024


class CallerGone(Exception):
    """The client closed its connection. Nobody is left to answer."""


def combined(pairs: Sequence[tuple[bytes, bytes]]) -> Headers:
    """The headers by name. One that is there several times has its values in one, separated by commas.

    Source: RFC 9110 §5.3. A list (tags, betas) is then whole, and of two deadlines or cache modes neither wins unseen.
    """
    headers = dict(pairs)
    if len(headers) == len(pairs):
        return headers
    values: dict[bytes, list[bytes]] = {}
    for name, value in pairs:
        values.setdefault(name, []).append(value)
    return {name: b", ".join(several) for name, several in values.items()}


async def read_json_body(
    headers: Headers,
    receive: Receive,
    *,
    max_bytes: int,
    timeout_s: float,
    deadline: Callable[[float], Until] = within,
) -> bytes:
    """The whole body, of which never more than max_bytes are kept. deadline: makes that of its coming.

    Raises UnsupportedMediaType, BodyTooLarge, BodyTimeout, InvalidRequest for a wrong content-length, CallerGone.
    """
    try:
        with deadline(timeout_s):
            declared = _declared_length(headers)
            refusal = _refusal(headers, declared, max_bytes)
            if refusal is not None:
                await _drain(receive)
                raise refusal
            body, more = _part_of(await receive())
            if 0 < declared == len(body) or (not more and len(body) <= max_bytes):
                # With all bytes there, asking on would only bring the news that there are no more.
                return body
            return await _joined(body, more, receive, max_bytes)
    except TimeoutError as error:
        raise BodyTimeout(timeout_s) from error


def _refusal(headers: Headers, declared: int, max_bytes: int) -> Refusal | None:
    """Why nobody need look at the body."""
    if declared > max_bytes:
        return BodyTooLarge(max_bytes)
    is_encoded = headers.get(b"content-encoding", b"identity").lower() != b"identity"
    if is_encoded or not (_is_json(headers.get(b"content-type", b"")) or _is_curl_without_a_type(headers)):
        return UnsupportedMediaType(is_encoded=is_encoded)
    return None


async def _joined(body: bytes, more: bool, receive: Receive, max_bytes: int) -> bytes:
    # Its value is taken out without a copy: joined parts would need the room twice.
    parts = io.BytesIO()
    parts.write(body)
    while more and parts.tell() <= max_bytes:
        body, more = _part_of(await receive())
        parts.write(body)
    if parts.tell() > max_bytes:
        parts.close()
        if more:
            await _drain(receive)
        raise BodyTooLarge(max_bytes)
    return parts.getvalue()


async def _drain(receive: Receive) -> None:
    left = _DRAINED_BYTES
    more = True
    while more and left > 0:
        body, more = _part_of(await receive())
        left -= len(body)


def _part_of(message: Message) -> tuple[bytes, bool]:
    if message["type"] == "http.disconnect":
        raise CallerGone
    return message.get("body", b""), message.get("more_body", False)


def _declared_length(headers: Headers) -> int:
    declared = headers.get(b"content-length", b"0")
    if not declared.isdigit():
        raise InvalidRequest("is not a number of bytes", where="content-length")
    return int(declared)


def _is_curl_without_a_type(headers: Headers) -> bool:
    """Whether the body's type is only what `curl -d` says of every body.

    A page in a browser can send that type too, but neither this user agent without a preflight, nor without an Origin.
    """
    return (
        headers.get(b"content-type") == b"application/x-www-form-urlencoded"
        and headers.get(b"user-agent", b"").startswith((b"curl/", b"Wget/"))
        and b"origin" not in headers
        and b"sec-fetch-site" not in headers
    )


def _is_json(content_type: bytes) -> bool:
    if content_type == b"application/json":
        return True
    kind, *parameters = content_type.lower().split(b";")
    charsets = [value for value in (part.strip() for part in parameters) if value.startswith(b"charset=")]
    return kind.strip() == b"application/json" and all(
        charset.removeprefix(b"charset=").strip(b'"') in {b"utf-8", b"utf8"} for charset in charsets
    )
