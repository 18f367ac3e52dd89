"""OpenAI's `/embeddings`: a call goes out as it came, and each vector is one choice of its answer.

A vector is kept as the JSON that it came in, so that it goes back out digit by digit, and costs no object a number.
"""

import binascii
from collections.abc import Iterator
from typing import Any, Final

import msgspec

from ledger.usage import Usage
from router.answer import Delta
from router.deployments import Deployment, Provider
from router.embeddings import inputs_of
from router.errors import Inexpressible
from router.providers.reading import BodyReading, WholeBody, usage_from

_BYTES_PER_NUMBER: Final = 4


class _Vector(msgspec.Struct):
    embedding: msgspec.Raw
    index: int | None = None


class _Said(msgspec.Struct):
    data: list[_Vector]
    model: Any = None
    usage: Any = None
    id: Any = None
    created: Any = None


_LISTED: Final = msgspec.json.Decoder(_Said)
_NUMBERS: Final = msgspec.json.Decoder(list[float] | str)


def fit(body: dict[str, Any], deployment: Deployment) -> tuple[dict[str, Any], tuple[str, ...]]:
    """As `router.dialects.Fit`. Raises Inexpressible where the dialect knows no embeddings."""
    dialect = deployment.provider.dialect
    if dialect not in {"openai", "local"}:
        raise Inexpressible(where="input", what="an embedding", dialect=dialect)
    if dialect == "local" and body.get("dimensions") is not None:
        # The local model's vectors are as long as they are.
        return {name: value for name, value in body.items() if name != "dimensions"}, ("dimensions",)
    return body, ()


class Embeddings(BodyReading):
    """An answer in one piece of JSON, whole if it has a vector for each input."""

    is_done = False

    def __init__(self, provider: Provider, status: int, body: dict[str, Any]) -> None:
        super().__init__(provider, status)
        self._wanted = len(inputs_of(body))
        self._body = WholeBody(status)

    def feed(self, chunk: bytes) -> Iterator[Delta]:
        self._body.add(chunk)
        return iter(())

    def finish(self) -> Iterator[Delta]:
        data = self._body.joined()
        try:
            said = _LISTED.decode(data)
        except (ValueError, RecursionError) as error:
            raise self.error(data) from error
        self.note({"model": said.model, "id": said.id}, created=said.created)
        self.usage = _usage_of(said.usage)
        return iter(self._deltas(said.data))

    def _deltas(self, vectors: list[_Vector]) -> list[Delta]:
        """One for each input, in their order."""
        found = {
            place if vector.index is None else vector.index: bytes(vector.embedding)
            for place, vector in enumerate(vectors)
        }
        if len(vectors) != self._wanted or found.keys() != set(range(self._wanted)):
            raise self.bad("there is not one vector for each input")
        if not all(map(_is_vector, found.values())):
            raise self.bad("an embedding is not a vector")
        return [Delta(choice=place, vector=found[place], finish_reason="stop") for place in range(self._wanted)]


def _usage_of(said: Any) -> Usage | None:
    """Nothing is written. Some providers say the total alone."""
    if not isinstance(said, dict):
        return None
    read = said.get("total_tokens") if said.get("prompt_tokens") is None else said["prompt_tokens"]
    return usage_from(
        {**said, "prompt_tokens": read, "completion_tokens": 0}, prompt="prompt_tokens", completion="completion_tokens"
    )


def _is_vector(text: bytes) -> bool:
    """Whether this JSON is numbers, or base64 of four bytes each."""
    try:
        numbers = _NUMBERS.decode(text)
        return bool(numbers) and (
            isinstance(numbers, list) or len(binascii.a2b_base64(numbers, strict_mode=True)) % _BYTES_PER_NUMBER == 0
        )
    except ValueError:
        return False
