"""OpenAI's dialect, spoken by most providers: chat completions unless a call is told another endpoint.

What is sent to the others, and what each one's answer means, is in files of their own, `openai_….py`.
"""

from collections.abc import AsyncGenerator, Callable, Mapping
from typing import Any, Final, Protocol

import httpx
import msgspec

from router.answer import Closing, Delta, SaysUsage
from router.deployments import Deployment, Provider
from router.embeddings import ENDPOINT as EMBEDDINGS
from router.providers import openai_responses
from router.providers.client import Http, chunks_of, read_model_names, read_to_the_end, written
from router.providers.openai_embeddings import Embeddings
from router.providers.openai_passing import together
from router.providers.openai_reading import EventStream, WholeAnswer
from router.providers.openai_responses_reading import ResponseStream, WholeResponse
from router.providers.reading import Reading
from router.responses import as_sent_of
from router.vendors import AZURE_DEPLOYMENTS, credentials

# Words meant for another dialect.
_NOT_FORWARDED: Final = frozenset({"anthropic-beta", "anthropic-version"})


class OpenAIDialect:
    """The API as OpenAI has it. base_url ends in `/v1` or its like. See `Upstream`."""

    def __init__(self, transport: httpx.AsyncBaseTransport, *, clock_ms: Callable[[], int] | None = None) -> None:
        self._http = Http(transport, clock_ms=clock_ms)

    async def attempt(
        self,
        deployment: Deployment,
        body: dict[str, Any],
        *,
        stream: bool,
        headers: dict[str, str],
        on_answer: Callable[[Mapping[str, str], SaysUsage], None] | None = None,
        endpoint: str = "",
        keeps_events: bool = False,
        body_bytes: int = 0,
    ) -> AsyncGenerator[Delta | Closing, None]:
        """See Upstream.attempt. An unstreamed answer is one Delta a choice."""
        provider, there = deployment.provider, _ENDPOINTS.get(endpoint, _CHAT)
        accept = "text/event-stream" if stream and there.events is not None else "application/json"
        async with self._http.exchange(
            provider,
            "POST",
            there.path,
            headers=_headers(provider, headers, accept=accept),
            body=await written(lambda: there.request(deployment, body, stream=stream), size=body_bytes),
        ) as response:
            if there.events is None or not stream or _is_whole(response):
                reading = there.whole(provider, response.status_code, body)
            else:
                reading = there.events(provider, response.status_code, body, keeps_events=keeps_events)
            if on_answer is not None:
                on_answer(response.headers, reading)
            chunks = chunks_of(response)
            async for chunk in chunks:
                deltas = reading.feed(chunk)
                for delta in together(deltas) if keeps_events else deltas:
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
        if AZURE_DEPLOYMENTS in provider.base_url:
            beside = provider.base_url.partition(AZURE_DEPLOYMENTS)[0]
            provider = msgspec.structs.replace(provider, base_url=f"{beside}/openai")
        async with self._http.exchange(provider, "GET", "/models", headers=headers) as response:
            return await read_model_names(response)


class _Request(Protocol):
    def __call__(self, deployment: Deployment, body: dict[str, Any], *, stream: bool) -> dict[str, Any]: ...


class _Endpoint(msgspec.Struct, frozen=True, kw_only=True):
    """What differs between endpoints: where a call goes, what it is sent as, and how its answer is read.

    Both readings take the call's body, too. events None: nothing is streamed there, whatever was asked.
    """

    path: str
    request: _Request
    whole: Callable[[Provider, int, dict[str, Any]], Reading]
    events: "_Events | None"


class _Events(Protocol):
    def __call__(self, provider: Provider, status: int, body: dict[str, Any], *, keeps_events: bool) -> Reading: ...


def _chat_request(deployment: Deployment, body: dict[str, Any], *, stream: bool) -> dict[str, Any]:
    request = {**body, "model": deployment.model, "stream": stream}
    if stream:
        request["stream_options"] = {"include_usage": True}
    return request


def _embeddings_request(deployment: Deployment, body: dict[str, Any], **_: bool) -> dict[str, Any]:
    return {**body, "model": deployment.model}


_CHAT: Final = _Endpoint(
    path="/chat/completions",
    request=_chat_request,
    whole=lambda provider, status, _body: WholeAnswer(provider, status),
    events=lambda provider, status, _, *, keeps_events: EventStream(provider, status, keeps_events=keeps_events),
)
_ENDPOINTS: Final = {
    openai_responses.ENDPOINT: _Endpoint(
        path="/responses",
        request=openai_responses.request_of,
        whole=lambda provider, status, body: WholeResponse(provider, status, keeps_items=_knows_items(body)),
        events=lambda provider, status, body, *, keeps_events: ResponseStream(
            provider, status, keeps_items=_knows_items(body), keeps_events=keeps_events
        ),
    ),
    EMBEDDINGS: _Endpoint(path="/embeddings", request=_embeddings_request, whole=Embeddings, events=None),
}


def _knows_items(body: dict[str, Any]) -> bool:
    return as_sent_of(body) is not None


def _is_whole(response: httpx.Response) -> bool:
    """Some servers answer whole, whatever they were asked; a page for people fails as soon as it is decoded."""
    kind: str = response.headers.get("content-type", "")
    return kind.startswith(("application/json", "text/html"))


def _headers(provider: Provider, given: dict[str, str], *, accept: str) -> dict[str, str]:
    headers = {lower: value for name, value in given.items() if (lower := name.lower()) not in _NOT_FORWARDED}
    headers |= {"accept": accept, "content-type": "application/json", "user-agent": "farthing"}
    # A caller's own are for us.
    headers.pop("authorization", None)
    return headers | credentials(provider, "authorization")
