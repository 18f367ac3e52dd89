"""The dialect of OpenAI's chat completions, spoken by most providers. What an answer means is in openai_reading.py."""

from collections.abc import AsyncGenerator, Callable, Mapping
from typing import Any, Final, Protocol

import httpx
import msgspec

from router.answer import Closing, Delta
from router.deployments import Deployment, Provider
from router.providers import openai_responses
from router.providers.client import Http, chunks_of, read_model_names, read_to_the_end
from router.providers.openai_reading import EventStream, WholeAnswer
from router.providers.openai_responses_reading import ResponseStream, WholeResponse
from router.providers.reading import Reading

# Words meant for another dialect.
_NOT_FORWARDED: Final = frozenset({"anthropic-beta", "anthropic-version"})


class OpenAIDialect:
    """Chat completions as OpenAI has them. base_url ends in `/v1` or its like. See `Upstream`."""

    def __init__(self, transport: httpx.AsyncBaseTransport, *, clock_ms: Callable[[], int] | None = None) -> None:
        self._http = Http(transport, clock_ms=clock_ms)

    async def attempt(
        self,
        deployment: Deployment,
        body: dict[str, Any],
        *,
        stream: bool,
        headers: dict[str, str],
        on_headers: Callable[[Mapping[str, str]], None] | None = None,
        endpoint: str = "",
    ) -> AsyncGenerator[Delta | Closing, None]:
        """See Upstream.attempt. An unstreamed answer is one Delta a choice."""
        provider, there = deployment.provider, _ENDPOINTS.get(endpoint, _CHAT)
        accept = "text/event-stream" if stream else "application/json"
        async with self._http.exchange(
            provider,
            "POST",
            there.path,
            headers=_headers(provider, headers, accept=accept),
            body=msgspec.json.encode(there.request(deployment, body, stream=stream)),
        ) as response:
            if on_headers is not None:
                on_headers(response.headers)
            reading = _reading_of(there, response, provider, stream=stream)
            chunks = chunks_of(response)
            async for chunk in chunks:
                for delta in reading.feed(chunk):
                    yield delta
                if reading.is_done:
                    await read_to_the_end(chunks)
                    break
            for delta in reading.finish():
                yield delta
        yield reading.closing()

    async def list_models(self, provider: Provider) -> list[str]:
        """See Upstream.list_models."""
        headers = _headers(provider, {}, accept="application/json")
        async with self._http.exchange(provider, "GET", "/models", headers=headers) as response:
            return await read_model_names(response)


class _Request(Protocol):
    def __call__(self, deployment: Deployment, body: dict[str, Any], *, stream: bool) -> dict[str, Any]: ...


class _Endpoint(msgspec.Struct, frozen=True, kw_only=True):
    """What differs between endpoints: where a call goes, what it is sent as, and how its answer is read."""

    path: str
    request: _Request
    whole: Callable[[Provider, int], Reading]
    events: Callable[[Provider, int], Reading]


def _chat_request(deployment: Deployment, body: dict[str, Any], *, stream: bool) -> dict[str, Any]:
    request = {**body, "model": deployment.model, "stream": stream}
    if stream:
        request["stream_options"] = {"include_usage": True}
    return request


_CHAT: Final = _Endpoint(path="/chat/completions", request=_chat_request, whole=WholeAnswer, events=EventStream)
_ENDPOINTS: Final = {
    openai_responses.ENDPOINT: _Endpoint(
        path="/responses", request=openai_responses.request_of, whole=WholeResponse, events=ResponseStream
    )
}


def _reading_of(there: _Endpoint, response: httpx.Response, provider: Provider, *, stream: bool) -> Reading:
    # Some servers answer whole, whatever they were asked; a page for people fails as soon as it is decoded.
    if not stream or response.headers.get("content-type", "").startswith(("application/json", "text/html")):
        return there.whole(provider, response.status_code)
    return there.events(provider, response.status_code)


def _headers(provider: Provider, given: dict[str, str], *, accept: str) -> dict[str, str]:
    headers = {lower: value for name, value in given.items() if (lower := name.lower()) not in _NOT_FORWARDED}
    headers |= {"accept": accept, "content-type": "application/json", "user-agent": "farthing"}
    if provider.api_key:
        headers["authorization"] = f"Bearer {provider.api_key}"
    else:
        headers.pop("authorization", None)
    return headers
