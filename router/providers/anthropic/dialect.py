"""The dialect of Anthropic's Messages API. What is sent is in request.py, what an answer means in reading.py."""

from collections.abc import AsyncGenerator, Callable, Mapping
from typing import Any, Final

import httpx

from router.answer import Closing, Delta, SaysUsage
from router.deployments import Deployment, Provider
from router.providers.anthropic.reading import MessageReader
from router.providers.anthropic.request import request_of
from router.providers.client import Http, chunks_of, read_model_names, read_to_the_end, read_whole, written
from router.vendors import credentials

VERSION: Final = "2023-06-01"
# The most that one page of the list of models holds.
MODELS_PATH: Final = "/v1/models?limit=1000"
# Credentials that are not this provider's, and words meant for another dialect.
_NOT_FORWARDED: Final = frozenset({"authorization", "x-api-key", "openai-beta"})


class AnthropicDialect:
    """Messages as Anthropic has them. base_url is without `/v1`. See `Upstream`."""

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
        """See Upstream.attempt. body: as `router.dialects.fitted` gave it. There is one endpoint."""
        provider = deployment.provider
        accept = "text/event-stream" if stream else "application/json"
        async with self._http.exchange(
            provider,
            "POST",
            "/v1/messages",
            headers=headers_of(provider, headers, accept=accept),
            body=await written(lambda: request_of(body, deployment.model, stream=stream), size=body_bytes),
        ) as response:
            reader = MessageReader(provider, response.status_code, keeps_events=keeps_events)
            if on_answer is not None:
                on_answer(response.headers, reader)
            if not stream or response.headers.get("content-type", "").startswith(("application/json", "text/html")):
                for delta in reader.whole(await read_whole(response)):
                    yield delta
            else:
                chunks = chunks_of(response)
                async for chunk in chunks:
                    for delta in reader.feed(chunk):
                        yield delta
                    if reader.is_done:
                        await read_to_the_end(chunks)
                        break
                for delta in reader.finish():
                    yield delta
        yield reader.closing()

    async def list_models(self, provider: Provider) -> list[str]:
        """See Upstream.list_models."""
        headers = headers_of(provider, {}, accept="application/json")
        async with self._http.exchange(provider, "GET", MODELS_PATH, headers=headers) as response:
            return await read_model_names(response)


def headers_of(provider: Provider, given: dict[str, str], *, accept: str) -> dict[str, str]:
    """What goes with a request to this provider. given: what a caller had forwarded."""
    headers = {"anthropic-version": VERSION}
    headers |= {lower: value for name, value in given.items() if (lower := name.lower()) not in _NOT_FORWARDED}
    headers |= {"accept": accept, "content-type": "application/json", "user-agent": "farthing"}
    return headers | credentials(provider, "x-api-key")
