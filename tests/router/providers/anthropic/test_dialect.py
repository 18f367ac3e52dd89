"""The dialect against the scripted upstream: what goes over the wire, and that whatever goes wrong is a Fault."""

from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager

import pytest

from ledger.usage import Usage
from router.answer import Closing, Delta
from router.deployments import Deployment, Provider
from router.faults import Fault, Outcome
from router.providers.anthropic.dialect import AnthropicDialect
from router.providers.transport import open_transport
from tests.anthropic_scripts import events, message, overloaded, start, streamed, text_delta
from tests.upstream import Script, ScriptedUpstream, garbage, half_body, scripted_upstream, status

KEY = "sk-ant-test-0123456789"
BODY = {"messages": [{"role": "user", "content": "Say hi"}], "max_tokens": 50}


class Bench:
    """The dialect, and the upstream that it talks to."""

    def __init__(self, upstream: ScriptedUpstream, dialect: AnthropicDialect, deployment: Deployment) -> None:
        self.upstream = upstream
        self.dialect = dialect
        self.deployment = deployment

    async def events(self, *, stream: bool, headers: dict[str, str] | None = None) -> list[Delta | Closing]:
        attempt = self.dialect.attempt(self.deployment, BODY, stream=stream, headers=headers or {})
        async with aclosing(attempt):
            return [event async for event in attempt]

    async def fault(self, script: Script, *, stream: bool) -> Fault:
        self.upstream.plays(script)
        with pytest.raises(Fault) as caught:
            await self.events(stream=stream)
        return caught.value


@asynccontextmanager
async def bench(api_key: str | None = KEY) -> AsyncIterator[Bench]:
    async with scripted_upstream() as upstream, open_transport(limit=10) as transport:
        provider = Provider(name="p", dialect="anthropic", base_url=upstream.root, api_key=api_key)
        deployment = Deployment(provider=provider, model="claude-test", price=None, encoding="o200k_base")
        yield Bench(upstream, AnthropicDialect(transport), deployment)


async def test_a_request_is_a_message_under_our_key_and_version() -> None:
    async with bench() as it:
        it.upstream.plays(message(), message())
        theirs = {"anthropic-beta": "b1", "OpenAI-Beta": "x", "Authorization": "Bearer theirs", "traceparent": "00-a"}
        await it.events(stream=False, headers=theirs)
        await it.events(stream=True, headers={"anthropic-version": "2027-01-01"})
        first, second = it.upstream.requests
        assert first.path == "/v1/messages"
        assert first.body == {
            "model": "claude-test",
            "messages": [{"role": "user", "content": [{"type": "text", "text": "Say hi"}]}],
            "max_tokens": 50,
            "stream": False,
        }
        names = ("x-api-key", "anthropic-version", "anthropic-beta", "traceparent", "authorization", "openai-beta")
        assert [first.headers.get(name) for name in names] == [KEY, "2023-06-01", "b1", "00-a", None, None]
        assert (second.body["stream"], second.headers["anthropic-version"]) == (True, "2027-01-01")


@pytest.mark.parametrize("is_stream", [False, True])
async def test_an_answer_is_its_text_and_its_closing(is_stream: bool) -> None:
    async with bench() as it:
        it.upstream.plays(message("Hi you"))
        *deltas, closing = await it.events(stream=is_stream)
        assert "".join(delta.text for delta in deltas if isinstance(delta, Delta)) == "Hi you"
        assert closing == Closing(
            usage=Usage(input_tokens=9, cached_tokens=4, cache_write_tokens=3, output_tokens=7),
            provider_model="claude-test",
            provider_response_id="msg_1",
            format="messages",
        )


async def test_a_stream_asked_for_and_answered_whole_is_read_all_the_same() -> None:
    async with bench() as it:
        it.upstream.plays(status(200, {"type": "message", "content": [{"type": "text", "text": "a"}]}))
        assert (await it.events(stream=True))[0] == Delta(text="a")


@pytest.mark.parametrize("is_stream", [False, True])
@pytest.mark.parametrize(
    ("script", "outcome", "code"),
    [
        (overloaded(), Outcome.UPSTREAM_ERROR, "overloaded_error"),
        (status(401, {"type": "error", "error": {"type": "authentication_error"}}), Outcome.AUTH_REFUSED, None),
        (status(400, {"type": "error", "error": {"type": "invalid_request_error"}}), Outcome.REJECTED, None),
        (garbage(), Outcome.BAD_ANSWER, ""),
        (half_body(), Outcome.CUT, ""),
    ],
)
async def test_whatever_goes_wrong_is_a_fault(script: Script, outcome: Outcome, code: str | None, is_stream: bool):
    async with bench() as it:
        fault = await it.fault(script, stream=is_stream)
        assert fault.outcome == outcome
        assert code is None or fault.code == code


async def test_overload_within_a_stream_is_the_providers_fault() -> None:
    async with bench() as it:
        error = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
        fault = await it.fault(events([start(), error]), stream=True)
        assert (fault.outcome, fault.code) == (Outcome.UPSTREAM_ERROR, "overloaded_error")


async def test_a_stream_that_breaks_off_is_cut() -> None:
    async with bench() as it:
        fault = await it.fault(events([*streamed("a b")[:3], text_delta("a")]), stream=True)
        assert fault.outcome == Outcome.CUT


async def test_the_models_are_listed_with_our_key() -> None:
    async with bench() as it:
        it.upstream.models = ["claude-a", "claude-b"]
        assert await it.dialect.list_models(it.deployment.provider) == ["claude-a", "claude-b"]
        (asked,) = it.upstream.others
        assert (asked.path, asked.headers["x-api-key"]) == ("/v1/models?limit=1000", KEY)


async def test_without_a_key_none_is_sent() -> None:
    async with bench(api_key=None) as it:
        it.upstream.plays(message())
        await it.events(stream=False, headers={"x-api-key": "theirs"})
        assert "x-api-key" not in it.upstream.requests[0].headers


@pytest.mark.parametrize("stream", [False, True])
async def test_our_key_is_masked_in_an_answer_that_repeats_it(stream: bool) -> None:
    async with bench() as it:
        it.upstream.plays(message(f"I was asked under {KEY} just now."))
        told = "".join(event.text for event in await it.events(stream=stream) if isinstance(event, Delta))
        assert told == "I was asked under [key] just now."
