"""Plain chunks are read as all others are, only sooner."""

import msgspec
import pytest

from router.deployments import Provider
from router.providers import openai_reading
from router.providers.openai_plain import plain_chunk

PROVIDER = Provider(name="p", dialect="openai", base_url="http://127.0.0.1:1/v1")
HEAD = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 17, "model": "m"}


def a_chunk(delta, **more):
    choice = {"index": 0, "delta": delta, "finish_reason": None, **more.pop("choice", {})}
    return {**HEAD, "choices": [choice], **more}


SAID = {
    "text": a_chunk({"content": "word "}),
    "role": a_chunk({"role": "assistant", "content": "", "refusal": None}),
    "nothing": a_chunk({}),
    "null": a_chunk({"content": None}, usage=None, obfuscation="xyz"),
    "extras": a_chunk({"content": "a"}, system_fingerprint="fp", service_tier="default"),
    "another choice": a_chunk({"content": "b"}, choice={"index": 3, "logprobs": None}),
    "no index": {**HEAD, "choices": [{"delta": {"content": "c"}}]},
    "no head": {"choices": [{"delta": {"content": "d"}}]},
}
NOT_PLAIN = {
    "an end": a_chunk({}, choice={"finish_reason": "stop"}),
    "a usage": a_chunk({"content": "a"}, usage={"prompt_tokens": 1, "completion_tokens": 1}),
    "thoughts": a_chunk({"reasoning_content": "hm"}),
    "an unknown field": a_chunk({"content": "a", "mood": "good"}),
    "no choice": {**HEAD, "choices": []},
    "an error": a_chunk({"content": "a"}, error={"message": "no"}),
    "a strange index": a_chunk({"content": "a"}, choice={"index": -1}),
    "no object": [],
}


@pytest.mark.parametrize("said", SAID.values(), ids=SAID.keys())
def test_a_plain_chunk_is_read_as_any_other(said, monkeypatch):
    streams = []
    for is_plain in (True, False):
        stream = openai_reading.EventStream(PROVIDER, 200, keeps_events=True)
        if not is_plain:
            monkeypatch.setattr(openai_reading, "plain_chunk", lambda _: None)
        deltas = list(stream.feed(b"data: %b\n\n" % msgspec.json.encode(said)))
        deltas += stream.feed(b'data: {"choices":[{"index":9,"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n')
        streams.append((deltas, stream.closing()))
    assert plain_chunk(msgspec.json.encode(said)) is not None
    assert streams[0] == streams[1]


@pytest.mark.parametrize("said", NOT_PLAIN.values(), ids=NOT_PLAIN.keys())
def test_what_has_anything_else_is_no_plain_chunk(said):
    assert plain_chunk(msgspec.json.encode(said)) is None


def test_what_is_no_json_is_no_plain_chunk():
    for data in (b"", b"{", b'{"choices":[{"delta":{"content":"\xff"}}]}', b"[" * 100_000):
        assert plain_chunk(data) is None
