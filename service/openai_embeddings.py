"""OpenAI's wire format for embeddings: `POST /v1/embeddings`. Fields nobody here knows pass through to the provider."""

import base64
import sys
from array import array
from typing import Annotated, Any, Final, Literal

import msgspec

from router.call import Call
from router.embeddings import inputs_of
from router.reply import Finished, Reply
from service.asked import Asked, EventWriter
from service.headers import NO_WISHES, Wishes
from service.openai_chat import cost_object
from service.refusals import InvalidRequest
from service.strict_json import convert, decode_object

_BASE64: Final = b'"'


class EmbeddingsBody(msgspec.Struct, kw_only=True):
    """The fields that are read here. All others go through unread."""

    model: str
    input: str | Annotated[list[Any], msgspec.Meta(min_length=1)]
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: Annotated[int, msgspec.Meta(ge=1, le=1 << 20)] | None = None
    user: Annotated[str, msgspec.Meta(max_length=256)] | None = None


class OpenAIEmbeddingsWire:
    """Embeddings: always whole."""

    def read(self, raw: bytes) -> Asked:
        value = decode_object(raw)
        fields = convert(value, EmbeddingsBody)
        if value.pop("stream", None):
            raise InvalidRequest("embeddings are not streamed", where="stream")
        for place, given in enumerate(inputs_of(value)):
            _check(given, where="input" if given is value["input"] else f"input[{place}]")
        del value["model"]
        return Asked(
            model=fields.model,
            body=value,
            stream=False,
            wishes=Wishes(user=fields.user) if fields.user else NO_WISHES,
            kind="embeddings",
        )

    def answer(self, call: Call, finished: Finished) -> bytes:
        answer, usage = finished.answer, finished.receipt.usage
        in_base64 = call.body.get("encoding_format") == "base64"
        read = None if usage is None else usage.prompt_tokens
        return msgspec.json.encode(
            {
                "object": "list",
                "data": [
                    {"object": "embedding", "index": choice.index, "embedding": vector_in(choice.vector, in_base64)}
                    for choice in answer.choices
                ],
                "model": answer.provider_model or finished.receipt.model,
                "usage": {"prompt_tokens": read, "total_tokens": read, **cost_object(finished.receipt)},
            }
        )

    def events(self, call: Call, reply: Reply, asked: Asked) -> EventWriter:
        raise AssertionError("embeddings are not streamed")


def vector_in(vector: bytes, in_base64: bool) -> msgspec.Raw:
    """The vector in the encoding that was asked for. As a rule it came in that; some providers know only one."""
    if vector.startswith(_BASE64) == in_base64:
        return msgspec.Raw(vector)
    numbers: array[float] = array("f")
    if in_base64:
        numbers.extend(msgspec.json.decode(vector, type=list[float]))
        return msgspec.Raw(msgspec.json.encode(base64.b64encode(_little_endian(numbers).tobytes()).decode()))
    numbers.frombytes(base64.b64decode(msgspec.json.decode(vector, type=str)))
    return msgspec.Raw(msgspec.json.encode(_little_endian(numbers).tolist()))


def _little_endian(numbers: "array[float]") -> "array[float]":
    """The same numbers, their bytes turned on a machine that has them the other way round."""
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers


def _check(given: Any, *, where: str) -> None:
    is_tokens = isinstance(given, list) and all(type(token) is int and token >= 0 for token in given)
    if not (is_tokens or isinstance(given, str)) or not given:
        raise InvalidRequest("must be a text or a list of token ids, and not empty", where=where)
