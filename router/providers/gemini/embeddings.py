"""Embeddings as the Gemini API has them: all inputs in one request, each vector one choice of the answer. Pure.

Source: ai.google.dev/api/embeddings (batchEmbedContents).
"""

import base64
import struct
from typing import Any, Final

import msgspec

from router.answer import Delta
from router.deployments import Deployment, Provider
from router.embeddings import inputs_of
from router.errors import Inexpressible
from router.providers.client import decode_object
from router.providers.gemini.usage import Counts
from router.providers.reading import BodyReading
from router.vendors import VERTEX_MODELS

METHOD: Final = "batchEmbedContents"
_TAKEN: Final = frozenset({"input", "model", "dimensions", "encoding_format", "task_type"})


class _Vector(msgspec.Struct):
    values: msgspec.Raw


class _Said(msgspec.Struct):
    embeddings: list[_Vector]
    usage: Any = msgspec.field(default=None, name="usageMetadata")


_LISTED: Final = msgspec.json.Decoder(_Said)
_NUMBERS: Final = msgspec.json.Decoder(list[float])


def fitted(body: dict[str, Any], deployment: Deployment) -> tuple[dict[str, Any], tuple[str, ...]]:
    """See `router.dialects.fitted`."""
    if deployment.provider.base_url.endswith(VERTEX_MODELS):
        # There it is another method with another shape, and one input a call.
        raise Inexpressible(where="input", what="an embedding", dialect="gemini at Vertex AI")
    for index, given in enumerate(inputs_of(body)):
        if not isinstance(given, str):
            raise Inexpressible(where=f"input[{index}]", what="a text in token ids", dialect="gemini")
    dropped = tuple(name for name in body if name not in _TAKEN)
    return {name: value for name, value in body.items() if name not in dropped}, dropped


def request_of(body: dict[str, Any], model: str) -> dict[str, Any]:
    """The request's body, from one that `fitted` gave."""
    wishes = {"outputDimensionality": body.get("dimensions"), "taskType": body.get("task_type")}
    said = {name: value for name, value in wishes.items() if value is not None}
    return {
        "requests": [
            {"model": f"models/{model}", "content": {"parts": [{"text": text}]}, **said} for text in inputs_of(body)
        ]
    }


class GeminiEmbeddings(BodyReading):
    """An answer in one piece of JSON, whole if it has a vector for each input."""

    def __init__(self, provider: Provider, status: int, body: dict[str, Any]) -> None:
        super().__init__(provider, status)
        self._wanted = len(inputs_of(body))
        self._is_packed = body.get("encoding_format") == "base64"

    def whole(self, data: bytes) -> list[Delta]:
        """One for each input, in their order. A vector is kept as it came, or packed where that was asked for."""
        try:
            said = _LISTED.decode(data)
        except (ValueError, RecursionError) as error:
            # An error within an answer, or no JSON at all.
            decode_object(data, status=self.status)
            raise self.error(data) from error
        if len(said.embeddings) != self._wanted:
            raise self.bad("there is not one vector for each input")
        counts = Counts()
        counts.add(said.usage)
        self.usage = counts.usage()
        vectors = [self._vector(bytes(vector.values)) for vector in said.embeddings]
        return [Delta(choice=place, vector=vector, finish_reason="stop") for place, vector in enumerate(vectors)]

    def _vector(self, text: bytes) -> bytes:
        try:
            numbers = _NUMBERS.decode(text)
            packed = struct.pack(f"<{len(numbers)}f", *numbers)
        except (ValueError, OverflowError, struct.error) as error:
            raise self.bad("an embedding is not a vector") from error
        if not numbers:
            raise self.bad("an embedding is not a vector")
        return msgspec.json.encode(base64.b64encode(packed).decode()) if self._is_packed else text
