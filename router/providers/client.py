"""What all dialects over HTTP share: one exchange, bounded and in our own errors. Whatever goes wrong is a Fault."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import suppress
from types import TracebackType
from typing import Any, Final, cast
from urllib.parse import urlencode

import httpx
import msgspec

from router.deployments import Provider
from router.faults import Fault, Outcome, classify_status
from router.json_text import json_text
from router.large import LARGE_BYTES, aside
from router.providers.direct import FixedHeaders
from router.providers.transport import AiohttpTransport, fixed_headers
from router.said import clean

MAX_TOKENS: Final = 10**9
ANSWER_BYTES: Final = 64 * 2**20
ERROR_BYTES: Final = 64 * 2**10
# The status is known by then; the words are worth no more than this.
ERROR_BODY_S: Final = 2.0
URLS_KEPT: Final = 256
HEADERS_KEPT: Final = 256
# What attempts or callers have of their own. All other headers are the same for each request to a provider.
_OF_ONE_ATTEMPT: Final = ("traceparent", "tracestate", "openai-beta", "anthropic-beta", "anthropic-version")
# After an answer its body's end is waited for this long, so that the connection can be used again.
END_OF_BODY_S: Final = 0.1
MASK: Final = "[key]"
# Shorter ones are placeholders, and masking them would garble every message.
SHORTEST_SECRET: Final = 8

# Errors that prove that no byte of the request left this machine (see router/providers/transport.py).
_NEVER_SENT: Final = (httpx.ConnectError, httpx.ConnectTimeout, httpx.LocalProtocolError, httpx.UnsupportedProtocol)


class Http:
    """Requests to providers over one transport."""

    def __init__(self, transport: httpx.AsyncBaseTransport, *, clock_ms: Callable[[], int] | None = None) -> None:
        self._transport = transport
        self._clock_ms = clock_ms or _wall_ms
        # Parsing one costs a tenth of a request. A local model's changes when it restarts, hence the bound.
        self._urls: dict[str, str] = {}
        self._fixed: dict[tuple[tuple[str, str], ...], FixedHeaders] = {}

    def exchange(
        self, provider: Provider, method: str, path: str, *, headers: Mapping[str, str], body: bytes = b""
    ) -> "Exchange":
        """A successful response (2xx), its body unread, for a block. Leaving early closes its connection.

        Raises Fault for every other response, and for whatever the transport meets, also within the block.
        """
        return Exchange(self, provider, (method, path, headers, body))

    async def send(
        self, provider: Provider, method: str, path: str, headers: Mapping[str, str], body: bytes
    ) -> httpx.Response:
        """Any response, to be closed. Raises httpx.TransportError, and httpx.InvalidURL.

        Our own transport's is one in name only: it has a status, headers, a stream, and an end.
        """
        url = self._url(provider, path)
        named = {**headers, **provider.headers} if provider.headers else headers
        connect_s, proxy = provider.connect_timeout_s, provider.proxy
        if isinstance(self._transport, AiohttpTransport):
            own = _encoded([(name, named[name]) for name in _OF_ONE_ATTEMPT if name in named])
            sent = self._transport.send(method, url, self._fixed_of(named), own, body, connect_s=connect_s, proxy=proxy)
            return cast("httpx.Response", await sent)
        # `content` would have httpx work out headers that the transport adds anyway.
        stream, extensions = httpx.ByteStream(body), {"timeout": {"connect": connect_s}, "proxy": proxy}
        request = httpx.Request(method, url, headers=_encoded(named.items()), stream=stream, extensions=extensions)
        return await self._transport.handle_async_request(request)

    async def check(self, response: httpx.Response, provider: Provider) -> None:
        """Raises Fault unless this is a response with an answer in it."""
        status = response.status_code
        if not 200 <= status < 300:
            words = b"" if _is_compressed(response) else without_key(await _first_of(response), provider)
            raise classify_status(status, response.headers, words, now_ms=self._clock_ms())
        if _is_compressed(response):
            # Nobody asked for that, and what it would grow to has no bound.
            raise Fault(Outcome.BAD_ANSWER, "the answer is compressed", status=status)

    def _fixed_of(self, headers: Mapping[str, str]) -> FixedHeaders:
        """Those that are not of one attempt."""
        said = tuple([header for header in headers.items() if header[0] not in _OF_ONE_ATTEMPT])
        fixed = self._fixed.get(said)
        if fixed is None:
            if len(self._fixed) >= HEADERS_KEPT:
                self._fixed.clear()
            fixed = self._fixed[said] = fixed_headers(_encoded(said))
        return fixed

    def _url(self, provider: Provider, path: str) -> str:
        text = provider.base_url.rstrip("/") + path
        if provider.query:
            text += ("&" if "?" in path else "?") + urlencode(provider.query)
        url = self._urls.get(text)
        if url is None:
            if len(self._urls) >= URLS_KEPT:
                self._urls.clear()
            url = self._urls[text] = str(httpx.URL(text))
        return url


class Exchange:
    """One request and its response, while a block runs. See `Http.exchange`, which makes it.

    A class, for a generator's context costs a call several times as much.
    """

    __slots__ = ("_asked", "_http", "_provider", "_response")

    def __init__(self, http: Http, provider: Provider, asked: tuple[str, str, Mapping[str, str], bytes]) -> None:
        """asked: method, path, headers and body."""
        self._http = http
        self._provider = provider
        self._asked = asked

    async def __aenter__(self) -> httpx.Response:
        try:
            response = self._response = await self._http.send(self._provider, *self._asked)
        except httpx.TransportError as error:
            raise fault_of(error, None) from error
        except httpx.InvalidURL as error:
            raise Fault(Outcome.CONNECT_FAILED, f"the base URL is not valid: {error}", sent=False) from error
        try:
            await self._http.check(response, self._provider)
        except BaseException:
            await response.aclose()
            raise
        return response

    async def __aexit__(
        self, _kind: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        await self._response.aclose()
        if isinstance(error, httpx.TransportError):
            raise fault_of(error, self._response.status_code) from error


def _encoded(headers: Iterable[tuple[str, str]]) -> list[tuple[bytes, bytes]]:
    return [(name.encode("latin-1", "replace"), value.encode()) for name, value in headers]


async def _first_of(response: httpx.Response) -> bytes:
    """The beginning of a refusal's body."""
    body = bytearray()
    with suppress(TimeoutError, httpx.TransportError):  # What came so far has to do.
        async with asyncio.timeout(ERROR_BODY_S):
            async for chunk in chunks_of(response):
                body += chunk[: ERROR_BYTES - len(body)]
                if len(body) >= ERROR_BYTES:
                    break
    return bytes(body)


async def written(request: Callable[[], dict[str, Any]], *, size: int) -> bytes:
    """The JSON text of what this makes. size: about how long it will be."""
    if size < LARGE_BYTES:
        return msgspec.json.encode(request())
    return await aside(lambda: json_text(request()), size=size)


def _is_compressed(response: httpx.Response) -> bool:
    """Whether the body is in any encoding; `identity` was asked for."""
    encoding = response.headers.get("content-encoding")
    return encoding is not None and encoding.strip().lower() not in {"", "identity"}


async def read_whole(response: httpx.Response) -> bytes:
    """The body of a whole answer. Raises Fault beyond ANSWER_BYTES."""
    pieces: list[bytes] = []
    size = 0
    async for chunk in chunks_of(response):
        size += len(chunk)
        if size > ANSWER_BYTES:
            raise Fault(Outcome.BAD_ANSWER, "the answer is too long", status=response.status_code)
        pieces.append(chunk)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


async def ask_count(
    http: Http, provider: Provider, path: str, *, headers: Mapping[str, str], request: dict[str, Any], field: str
) -> int:
    """The count in this field of the answer. Raises Fault."""
    body = msgspec.json.encode(request)
    async with http.exchange(provider, "POST", path, headers=headers, body=body) as response:
        count = decode_object(await read_whole(response), status=response.status_code).get(field)
        # By type, for True is an int too.
        if type(count) is not int or not 0 <= count <= MAX_TOKENS:
            raise Fault(Outcome.BAD_ANSWER, "this is not a count of tokens", status=response.status_code)
        return count


async def read_to_the_end(chunks: AsyncIterator[bytes]) -> None:
    """Read to the body's end, for a moment. The answer is whole: whatever goes wrong now does not matter."""
    with suppress(TimeoutError, httpx.TransportError):
        async with asyncio.timeout(END_OF_BODY_S):
            async for _ in chunks:
                pass


async def read_model_names(response: httpx.Response) -> list[str]:
    """The names in a list of models. Raises Fault."""
    listed = decode_object(await read_whole(response), status=response.status_code)
    try:
        return [model.id for model in msgspec.convert(listed, _Models).data]
    except msgspec.ValidationError as error:
        raise Fault(Outcome.BAD_ANSWER, "this is not a list of models", status=response.status_code) from error


class _Model(msgspec.Struct):
    id: str


class _Models(msgspec.Struct):
    data: list[_Model]


def decode_object(data: bytes, *, status: int) -> dict[str, Any]:
    """A JSON object. Raises Fault for anything else; the fault never repeats what it was."""
    try:
        decoded = msgspec.json.decode(data)
    except (ValueError, RecursionError) as error:
        raise Fault(Outcome.BAD_ANSWER, "the answer is not valid JSON", status=status) from error
    if not isinstance(decoded, dict):
        raise Fault(Outcome.BAD_ANSWER, "the answer is not a JSON object", status=status)
    return decoded


def without_key(words: bytes, provider: Provider) -> bytes:
    """What a provider said, without its key, should it have repeated it."""
    if provider.api_key is None or len(provider.api_key) < SHORTEST_SECRET:
        return words
    return words.replace(provider.api_key.encode(), MASK.encode())


def chunks_of(response: httpx.Response) -> AsyncIterator[bytes]:
    """The raw chunks of a body, as they come."""
    assert isinstance(response.stream, httpx.AsyncByteStream)
    return aiter(response.stream)


def fault_of(error: httpx.TransportError, status: int | None) -> Fault:
    """What a broken exchange means. status: of the response whose body was being read."""
    words = clean(str(error))
    if status is None and isinstance(error, _NEVER_SENT):
        return Fault(Outcome.CONNECT_FAILED, words or "no connection", sent=False)
    if isinstance(error, httpx.TimeoutException):
        return Fault(Outcome.STALLED, words or "no answer in time", status=status)
    return Fault(Outcome.CUT, words or "the connection broke off", status=status)


def _wall_ms() -> int:
    return time.time_ns() // 1_000_000
