"""The dialect against the scripted upstream: what goes over the wire, and that whatever goes wrong is a Fault."""

from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager

import pytest

from ledger.usage import Usage
from router.answer import Closing, Delta
from router.deployments import Deployment, Provider
from router.faults import Fault, Outcome
from router.providers.gemini.dialect import GeminiDialect
from router.providers.transport import open_transport
from tests.gemini_scripts import content, error, events, said, streamed
from tests.upstream import Script, ScriptedUpstream, garbage, half_body, json_response, scripted_upstream, status

KEY = "AIza-test-0123456789"
BODY = {"messages": [{"role": "user", "content": "Say hi"}], "max_tokens": 50}


class Bench:
    """The dialect, and the upstream that it talks to."""

    def __init__(self, upstream: ScriptedUpstream, dialect: GeminiDialect, deployment: Deployment) -> None:
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
async def bench(api_key: str | None = KEY, model: str = "gemini-2.5-flash") -> AsyncIterator[Bench]:
    async with scripted_upstream() as upstream, open_transport(limit=10) as transport:
        provider = Provider(name="p", dialect="gemini", base_url=upstream.root, api_key=api_key)
        deployment = Deployment(provider=provider, model=model, price=None, encoding="o200k_base")
        yield Bench(upstream, GeminiDialect(transport), deployment)


async def test_a_request_goes_to_the_models_own_path_under_our_key() -> None:
    async with bench() as it:
        it.upstream.plays(content(), content())
        theirs = {"anthropic-beta": "b1", "x-goog-api-key": "theirs", "Authorization": "theirs", "traceparent": "00-a"}
        await it.events(stream=False, headers=theirs)
        await it.events(stream=True)
        first, second = it.upstream.requests
        assert first.path == "/v1beta/models/gemini-2.5-flash:generateContent"
        assert second.path == "/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse"
        assert first.body == second.body
        assert first.body == {
            "contents": [{"role": "user", "parts": [{"text": "Say hi"}]}],
            "generationConfig": {"maxOutputTokens": 50},
        }
        names = ("x-goog-api-key", "traceparent", "authorization", "anthropic-beta")
        assert [first.headers.get(name) for name in names] == [KEY, "00-a", None, None]


async def test_a_models_name_stays_within_its_place_in_the_path() -> None:
    async with bench(model="a/../b?c#d") as it:
        it.upstream.plays(content())
        await it.events(stream=False)
        assert it.upstream.requests[0].path == "/v1beta/models/a%2F..%2Fb%3Fc%23d:generateContent"


@pytest.mark.parametrize("is_stream", [False, True])
async def test_an_answer_is_its_text_and_its_closing(is_stream: bool) -> None:
    async with bench() as it:
        it.upstream.plays(content("Hi you"))
        *deltas, closing = await it.events(stream=is_stream)
        assert "".join(delta.text for delta in deltas if isinstance(delta, Delta)) == "Hi you"
        assert closing == Closing(
            usage=Usage(input_tokens=9, cached_tokens=4, output_tokens=7),
            provider_model="gemini-test",
            provider_response_id="r1",
        )


async def test_a_stream_asked_for_and_answered_whole_is_read_all_the_same() -> None:
    async with bench() as it:
        it.upstream.plays(json_response(said({"text": "a"}, reason="STOP")))
        assert (await it.events(stream=True))[0] == Delta(text="a")


@pytest.mark.parametrize("is_stream", [False, True])
@pytest.mark.parametrize(
    ("script", "outcome"),
    [
        (status(503, error(503, "UNAVAILABLE")), Outcome.UPSTREAM_ERROR),
        (status(429, error(429, "RESOURCE_EXHAUSTED")), Outcome.RATE_LIMITED),
        (status(400, error(400, "INVALID_ARGUMENT", "API key not valid. Pass another.")), Outcome.AUTH_REFUSED),
        (status(403, error(403, "PERMISSION_DENIED")), Outcome.AUTH_REFUSED),
        (status(404, error(404, "NOT_FOUND")), Outcome.NOT_SUPPORTED),
        (status(400, error(400, "INVALID_ARGUMENT", "too long")), Outcome.REJECTED),
        (garbage(), Outcome.BAD_ANSWER),
        (half_body(), Outcome.CUT),
    ],
)
async def test_whatever_goes_wrong_is_a_fault(script: Script, outcome: Outcome, is_stream: bool) -> None:
    async with bench() as it:
        assert (await it.fault(script, stream=is_stream)).outcome == outcome


async def test_overload_within_a_stream_is_the_providers_fault() -> None:
    async with bench() as it:
        fault = await it.fault(events([said({"text": "a"}), error(503, "UNAVAILABLE")]), stream=True)
        assert (fault.outcome, fault.code) == (Outcome.UPSTREAM_ERROR, "UNAVAILABLE")


async def test_a_stream_that_ends_before_its_answer_is_cut() -> None:
    async with bench() as it:
        assert (await it.fault(events(streamed("a b")[:1]), stream=True)).outcome == Outcome.CUT


async def test_the_models_are_listed_with_our_key_by_their_plain_names() -> None:
    async with bench() as it:
        it.upstream.models = ["gemini-a", "gemini-b"]
        assert await it.dialect.list_models(it.deployment.provider) == ["gemini-a", "gemini-b"]
        (asked,) = it.upstream.others
        assert (asked.path, asked.headers["x-goog-api-key"]) == ("/v1beta/models?pageSize=1000", KEY)


async def test_without_a_key_none_is_sent() -> None:
    async with bench(api_key=None) as it:
        it.upstream.plays(content())
        await it.events(stream=False, headers={"x-goog-api-key": "theirs"})
        assert "x-goog-api-key" not in it.upstream.requests[0].headers


@pytest.mark.parametrize("stream", [False, True])
async def test_our_key_is_masked_in_an_answer_that_repeats_it(stream: bool) -> None:
    async with bench() as it:
        it.upstream.plays(content(f"I was asked under {KEY} just now."))
        told = "".join(event.text for event in await it.events(stream=stream) if isinstance(event, Delta))
        assert told == "I was asked under [key] just now."
