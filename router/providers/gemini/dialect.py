"""The dialect of Google's Gemini API. What is sent is in request.py, what an answer means in reading.py."""

from collections.abc import AsyncGenerator, Callable, Mapping
from typing import Any, Final
from urllib.parse import quote

import httpx
import msgspec

from router.answer import Closing, Delta, SaysUsage
from router.deployments import Deployment, Provider
from router.embeddings import ENDPOINT as EMBEDDINGS
from router.faults import Fault, Outcome
from router.providers.client import Http, chunks_of, decode_object, read_whole, written
from router.providers.gemini import embeddings
from router.providers.gemini.embeddings import GeminiEmbeddings
from router.providers.gemini.reading import GeminiReader
from router.providers.gemini.request import request_of
from router.vendors import VERTEX_MODELS, credentials

VERSION_PATH: Final = "/v1beta"
# The most that one page of the list of models holds.
MODELS_PATH: Final = f"{VERSION_PATH}/models?pageSize=1000"
VERTEX_MODELS_PATH: Final = f"/v1beta1{VERTEX_MODELS}/models?pageSize=1000"
_STREAMED: Final = "streamGenerateContent?alt=sse"
_WHOLE: Final = "generateContent"
# Credentials that are not this provider's, and words meant for other dialects.
_NOT_FORWARDED: Final = frozenset(
    {"authorization", "x-api-key", "x-goog-api-key", "openai-beta", "anthropic-beta", "anthropic-version"}
)


class GeminiDialect:
    """generateContent as Google has it. base_url is without `/v1beta`, or ends as Vertex AI's do. See `Upstream`."""

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
        """See Upstream.attempt. body: as `router.dialects.fitted` gave it. Vectors come whole, whatever was asked."""
        provider, is_embedding = deployment.provider, endpoint == EMBEDDINGS
        stream = stream and not is_embedding
        request = embeddings.request_of if is_embedding else request_of
        method = embeddings.METHOD if is_embedding else _STREAMED if stream else _WHOLE
        async with self._http.exchange(
            provider,
            "POST",
            path_of(deployment, method),
            headers=headers_of(provider, headers, accept="text/event-stream" if stream else "application/json"),
            body=await written(lambda: request(body, deployment.model), size=body_bytes),
        ) as response:
            reader: GeminiReader | GeminiEmbeddings = GeminiReader(provider, response.status_code)
            if is_embedding:
                reader = GeminiEmbeddings(provider, response.status_code, body)
            if on_answer is not None:
                on_answer(response.headers, reader)
            if isinstance(reader, GeminiEmbeddings) or not (stream and _comes_in_events(response)):
                for delta in reader.whole(await read_whole(response)):
                    yield delta
            else:
                # Nothing but the body's end says that no more will come.
                async for chunk in chunks_of(response):
                    for delta in reader.feed(chunk):
                        yield delta
                for delta in reader.finish():
                    yield delta
        yield reader.closing()

    async def list_models(self, provider: Provider) -> list[str]:
        """See Upstream.list_models."""
        headers, path = headers_of(provider, {}, accept="application/json"), MODELS_PATH
        if not root_of(provider):
            # Vertex AI lists what there is for everybody, and under another version.
            host = provider.base_url.partition("/v1/projects/")[0]
            provider, path = msgspec.structs.replace(provider, base_url=host), VERTEX_MODELS_PATH
        async with self._http.exchange(provider, "GET", path, headers=headers) as response:
            listed = decode_object(await read_whole(response), status=response.status_code)
            try:
                said = msgspec.convert(listed, _Models)
            except msgspec.ValidationError as error:
                raise Fault(Outcome.BAD_ANSWER, "this is not a list of models", status=response.status_code) from error
            found = said.publisher_models if said.models is None else said.models
            if found is None:
                raise Fault(Outcome.BAD_ANSWER, "this is not a list of models", status=response.status_code)
            return [model.name.rpartition("/")[2] for model in found]


class _Model(msgspec.Struct):
    name: str


class _Models(msgspec.Struct):
    models: list[_Model] | None = None
    publisher_models: list[_Model] | None = msgspec.field(default=None, name="publisherModels")


def _comes_in_events(response: httpx.Response) -> bool:
    """Whether what was asked for as a stream is one: some answer whole, or with a page of their own."""
    return not response.headers.get("content-type", "").startswith(("application/json", "text/html"))


def root_of(provider: Provider) -> str:
    """What stands before a model's name: the version, unless the base URL has it, as at Vertex AI."""
    return "" if provider.base_url.rstrip("/").endswith(VERTEX_MODELS) else VERSION_PATH


def path_of(deployment: Deployment, method: str) -> str:
    """Where this method of its model is."""
    return f"{root_of(deployment.provider)}/models/{quote(deployment.model, safe='')}:{method}"


def headers_of(provider: Provider, given: dict[str, str], *, accept: str) -> dict[str, str]:
    """What goes with a request to this provider. given: what a caller had forwarded."""
    headers = {lower: value for name, value in given.items() if (lower := name.lower()) not in _NOT_FORWARDED}
    headers |= {"accept": accept, "content-type": "application/json", "user-agent": "farthing"}
    return headers | credentials(provider, "x-goog-api-key")
