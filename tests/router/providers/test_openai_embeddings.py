"""OpenAI's `/embeddings`: what is sent, what is read, and that whatever goes wrong is a Fault."""

import json
from contextlib import aclosing, suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.usage import Usage
from router.answer import Closing, Delta
from router.deployments import Deployment, Provider
from router.dialects import fitted
from router.embeddings import ENDPOINT, inputs_of
from router.errors import Inexpressible
from router.faults import Fault, Outcome
from router.providers.openai import OpenAIDialect
from router.providers.openai_embeddings import Embeddings
from router.providers.transport import open_transport
from tests.openai_scripts import embedded
from tests.upstream import scripted_upstream

PROVIDER = Provider(name="p", dialect="openai", base_url="", api_key="sk-test-0123456789")
BODY: dict[str, Any] = {"input": ["aa", "b"], "dimensions": 3, "some_new_field": [1]}


@pytest.mark.parametrize("is_stream", [False, True])
async def test_a_call_goes_out_as_it_came_and_comes_back_whole_in_the_order_of_its_inputs(is_stream: bool) -> None:
    async with scripted_upstream() as upstream, open_transport(limit=10) as transport:
        upstream.plays(embedded())
        provider = Provider(name="p", dialect="openai", base_url=upstream.url)
        deployment = Deployment(provider=provider, model="embed-test", price=None, encoding="")
        attempt = OpenAIDialect(transport).attempt(deployment, BODY, stream=is_stream, headers={}, endpoint=ENDPOINT)
        async with aclosing(attempt):
            said = [event async for event in attempt]
        assert said == [
            Delta(choice=0, vector=b"[0.5, -1.0, 1.0]", finish_reason="stop"),
            Delta(choice=1, vector=b"[0.25, -0.0, 1.0]", finish_reason="stop"),
            Closing(usage=Usage(input_tokens=6), provider_model="embed-test"),
        ]
        (request,) = upstream.requests
        assert (request.path, request.body) == ("/v1/embeddings", {**BODY, "model": "embed-test"})


def test_a_dialect_without_embeddings_says_so() -> None:
    anthropic = Provider(name="a", dialect="anthropic", base_url="")
    with pytest.raises(Inexpressible):
        fitted(BODY, Deployment(provider=anthropic, model="m", price=None, encoding=""), ENDPOINT)


def test_the_local_models_vectors_are_as_long_as_they_are() -> None:
    local = Provider(name="local", dialect="local", base_url="")
    said = fitted(BODY, Deployment(provider=local, model="m", price=None, encoding=""), ENDPOINT)
    assert said == ({"input": BODY["input"], "some_new_field": [1]}, ("dimensions",))


INPUTS = [("text", 1), (["a", "b"], 2), ([1, 2, 3], 1), ([[1, 2], [3]], 2), ([[1, 2], "b"], 2), ([], 1)]


@pytest.mark.parametrize(("value", "count"), INPUTS)
def test_each_text_and_each_list_of_tokens_becomes_a_vector(value: Any, count: int) -> None:
    assert len(inputs_of({"input": value})) == count


def read(said: Any, *, body: dict[str, Any]) -> list[Delta | Closing]:
    reading = Embeddings(PROVIDER, 200, body)
    data = said if isinstance(said, bytes) else json.dumps(said).encode()
    for at in range(0, len(data), 7):
        assert list(reading.feed(data[at : at + 7])) == []
    return [*reading.finish(), reading.closing()]


VECTOR = {"embedding": [1, 2.5e-3], "index": 0}
USAGES: list[tuple[Any, Usage | None]] = [
    ({"prompt_tokens": 5, "total_tokens": 5}, Usage(input_tokens=5)),
    ({"total_tokens": 5}, Usage(input_tokens=5)),
    ({"prompt_tokens": 5, "completion_tokens": None}, Usage(input_tokens=5)),
    ({"prompt_tokens": -5}, None),
    ({"prompt_tokens": "5"}, None),
    ({}, None),
    (None, None),
]


@pytest.mark.parametrize(("said", "usage"), USAGES)
def test_usage_is_what_was_read(said: Any, usage: Usage | None) -> None:
    *_, closing = read({"data": [VECTOR], "usage": said}, body={"input": "a"})
    assert closing == Closing(usage=usage)


def test_a_vector_is_kept_digit_by_digit() -> None:
    vector = b"[0.1,-0.0,1e-30,0.30000000000000004,123456789.123456789]"
    (delta, _) = read(b'{"data":[{"embedding":' + vector + b"}]}", body={"input": "a"})
    assert delta == Delta(vector=vector, finish_reason="stop")


BAD = [
    ({"data": []}, "one vector for each input"),
    ({"data": [VECTOR, VECTOR]}, "one vector for each input"),
    ({"data": [{**VECTOR, "index": 1}]}, "one vector for each input"),
    ({"data": [{"embedding": [], "index": 0}]}, "not a vector"),
    ({"data": [{"embedding": [1, "2"]}]}, "not a vector"),
    ({"data": [{"embedding": None}]}, "not a vector"),
    ({"data": [{"embedding": "no base64"}]}, "not a vector"),
    ({"data": [{"embedding": "AAAA"}]}, "not a vector"),
    ({"data": [{"index": 0}]}, "an error instead"),
    ({"data": {}}, "an error instead"),
    ({"error": {"message": "The key sk-test-0123456789 broke."}}, "The key [key] broke."),
    (b"[]", "not a JSON object"),
    (b"<html>", "not valid JSON"),
    (b'{"data": [{"embedding": [1,]}]}', "not valid JSON"),
]


@pytest.mark.parametrize(("said", "words"), BAD)
def test_what_is_not_one_vector_for_each_input_is_a_fault(said: Any, words: str) -> None:
    with pytest.raises(Fault) as caught:
        read(said, body={"input": "a"})
    assert caught.value.outcome == Outcome.BAD_ANSWER
    assert words in caught.value.message


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda some: (
        st.lists(some, max_size=3)
        | st.dictionaries(st.sampled_from(["data", "embedding", "index", "usage", "error", "prompt_tokens"]), some)
    ),
    max_leaves=10,
)


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(st.sampled_from(["data", "usage", "error", "model", "id"]), JSON) | JSON, JSON)
def test_no_answer_whatever_ends_in_anything_but_vectors_or_a_fault(said: Any, given: Any) -> None:
    with suppress(Fault):
        read(said, body={"input": given})
