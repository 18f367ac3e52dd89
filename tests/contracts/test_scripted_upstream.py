"""The tests' own upstream keeps to the wire format as the official client reads it."""

from openai import AsyncOpenAI
from openai.types.chat import ChatCompletionMessageParam

from tests.upstream import answer, scripted_upstream


async def test_the_official_client_reads_a_whole_answer_and_a_stream() -> None:
    async with scripted_upstream() as upstream, AsyncOpenAI(base_url=upstream.url, api_key="sk-test") as client:
        upstream.plays(answer("Hi you"), answer("Hi you"))
        asked: ChatCompletionMessageParam = {"role": "user", "content": "Say hi"}
        whole = await client.chat.completions.create(model="m", messages=[asked])
        events = await client.chat.completions.create(
            model="m", messages=[asked], stream=True, stream_options={"include_usage": True}
        )
        chunks = [chunk async for chunk in events]
        assert whole.choices[0].message.content == "Hi you"
        assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == "Hi you"
        assert whole.usage == chunks[-1].usage
        assert [request.is_stream for request in upstream.requests] == [False, True]


async def test_a_caller_that_leaves_is_seen_to_leave() -> None:
    async with scripted_upstream() as upstream:
        client = AsyncOpenAI(base_url=upstream.url, api_key="sk-test")
        assert [model.id async for model in client.models.list()] == ["gpt-4o-mini"]
        assert upstream.open_connections == 1
        await client.close()
        await upstream.until(lambda it: it.open_connections == 0)
        assert upstream.others[0].closed
