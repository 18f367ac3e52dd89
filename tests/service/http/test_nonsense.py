"""Whatever comes in, a clear problem goes out and the service is unharmed."""

import json

import pytest

from tests.service.http.scripted import an_edge, raw_exchange

JSON = {"content-type": "application/json"}
DEEP = b"[" * 5000 + b"]" * 5000

NONSENSE = [
    (b"{", "truncated"),
    (b"hello", "invalid character"),
    (b"[]", "must be a JSON object"),
    (b"null", "must be a JSON object"),
    (b'{"prompt":"x"} y', "trailing characters"),
    (b'{"prompt":NaN}', "invalid character"),
    (b'{"prompt":"x","params":{"temperature":Infinity}}', "invalid character"),
    (b'{"prompt":"x","params":{"temperature":1e999}}', "Number out of range"),
    (b'{"prompt":"x","params":{"seed":' + b"9" * 5000 + b"}}", "out of range"),
    (b'{"prompt":"\xff"}', "not UTF-8"),
    (b'{"prompt":"\\ud800"}', "a string ends with half of a utf-16 surrogate pair"),
    (b'{"prompt":"\\udc00"}', "surrogate"),
    (b"\xef\xbb\xbf{}", "invalid character"),
    (b'{"prompt":"x","prompt":"y"}', "'prompt' is given twice"),
    (b'{"prompt":"x","params":{"a":[{"b":1,"\\u0062":2}]}}', "'b' is given twice"),
    (b'{"prompt":"x","params":{"a":' + DEEP + b"}}", "nested more than 128 deep"),
    (b'{"prompt":"x","params":{"a":' + b'{"a":' * 200 + b"1" + b"}" * 200 + b"}}", "nested more than 128 deep"),
    (b"", "the body is empty: send a JSON object"),
    (b" \n", "the body is empty: send a JSON object"),
    (b"{}", "exactly one of prompt and messages"),
    (b'{"prompt":"x","messages":[{"role":"user","content":"y"}]}', "exactly one of prompt and messages"),
    (b'{"prompt":5}', "prompt: Expected str | null, got int"),
    (b'{"messages":[]}', "messages: Expected array of length >= 1"),
    (b'{"messages":[{"content":"x"}]}', "messages[0].role: is missing"),
    (b'{"messages":[{"role":"user","content":{"a":1}}]}', "messages[0].content: Expected str | array | null"),
    (b'{"messages":"x"}', "messages: Expected array | null, got str"),
    (b'{"promt":"x"}', "promt: unknown field; did you mean prompt?"),
    (b'{"prompt":"x","zzz":1}', "zzz: unknown field; there are model, prompt"),
    (b'{"prompt":"x","cache":{"mod":"use"}}', "cache.mod: unknown field; did you mean mode?"),
    (b'{"prompt":"x","cache":{"mode":"maybe"}}', "cache.mode: must be one of use, bypass, refresh, only"),
    (b'{"prompt":"x","stream":"yes"}', "stream: Expected bool | null, got str"),
    (b'{"prompt":"x","params":{"max_tokens":-1}}', "params.max_tokens: Expected int >= 0"),
    (b'{"prompt":"x","params":{"max_tokens":"many"}}', "params.max_tokens: Expected int | null"),
    (b'{"prompt":"x","params":{"model":"y"}}', "params.model: is not a parameter"),
    (b'{"prompt":"x","params":{"n":2}}', "params.n: /generate gives one answer"),
    (b'{"prompt":"x","deadline_ms":0}', "deadline_ms: Expected int >= 1"),
    (b'{"prompt":"x","max_cost_usd":0.05}', 'max_cost_usd: an amount is exact, so it goes in quotes: "0.05"'),
    (b'{"prompt":"x","max_cost_usd":"-1"}', "max_cost_usd: must be dollars as a decimal"),
    (b'{"prompt":"x","max_cost_usd":"nan"}', "max_cost_usd: must be dollars as a decimal"),
    (b'{"prompt":"x","user":"' + b"u" * 300 + b'"}', "user: is longer than 256 characters"),
    (b'{"prompt":"x","tags":{"a":1}}', "tags[...]: Expected str, got int"),
]


async def test_a_body_that_makes_no_sense_is_a_400_that_says_where():
    async with an_edge() as (edge, client):
        for body, said in NONSENSE:
            answer = await client.post("/generate", content=body, headers=JSON)
            assert answer.status_code == 400, body[:80]
            problem = answer.json()
            assert problem["code"] == "invalid_request"
            assert said in problem["detail"], problem["detail"]
        assert edge.gateway.calls == []
        assert (await client.post("/generate", json={"prompt": "x"})).status_code == 200


async def test_the_vendors_path_says_the_same_in_the_vendors_shape():
    async with an_edge() as (edge, client):
        for body, param in (
            (b"{", None),
            (b'{"messages":[{"role":"user","content":"x"}]}', "model"),
            (b'{"model":"chat","messages":[{"role":5}]}', "messages[0].role"),
            (b'{"model":"chat","messages":[{"role":"user"}],"n":0}', "n"),
            (
                b'{"model":"chat","messages":[{"role":"user"}],"stream_options":{"include_usage":"yes"}}',
                "stream_options.include_usage",
            ),
        ):
            answer = await client.post("/v1/chat/completions", content=body, headers=JSON)
            assert answer.status_code == 400
            error = answer.json()["error"]
            assert (error["type"], error["code"], error["param"]) == ("invalid_request_error", "invalid_request", param)
        assert edge.gateway.calls == []


@pytest.mark.parametrize(
    ("name", "first", "second"),
    [
        ("x-farthing-cache", "use", "bypass"),
        ("x-farthing-deadline-ms", "1000", "60000"),
        ("x-farthing-max-cost-usd", "0.01", "5"),
    ],
)
async def test_of_a_wish_that_is_there_twice_neither_is_taken_unseen(name, first, second):
    async with an_edge() as (edge, client):
        lines = [(name, first), (name, second)]
        answer = await client.post("/generate", json={"prompt": "x"}, headers=lines)
        assert (answer.status_code, answer.json()["param"]) == (400, name)
        assert edge.gateway.calls == []


async def test_a_number_out_of_bounds_is_told_both_of_them():
    async with an_edge() as (_, client):
        answer = await client.post("/generate", json={"prompt": "x"}, headers={"x-farthing-deadline-ms": "9" * 40})
        said = "x-farthing-deadline-ms: must be a whole number from 1 to 1099511627776"
        assert answer.json()["detail"] == said


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("x-farthing-cache", "maybe"),
        ("x-farthing-cache-ttl-s", "-1"),
        ("x-farthing-cache-ttl-s", "1e3"),
        ("x-farthing-deadline-ms", "0"),
        ("x-farthing-deadline-ms", "9" * 40),
        ("x-farthing-max-cost-usd", "a lot"),
        ("x-farthing-tags", "novalue"),
        ("x-farthing-tags", "=v"),
        ("x-farthing-tags", "a=1, a=2"),
        ("x-farthing-user", "u" * 300),
        ("x-farthing-run", b"\xff\xfe"),
    ],
)
async def test_a_header_that_makes_no_sense_is_named(name, value):
    async with an_edge() as (edge, client):
        answer = await client.post("/generate", json={"prompt": "x"}, headers={name: value})
        assert (answer.status_code, answer.json()["param"]) == (400, name)
        assert edge.gateway.calls == []


@pytest.mark.parametrize(
    "content_type",
    ["", "text/plain", "application/x-www-form-urlencoded", "application/json; charset=latin-1", "a/json"],
)
async def test_a_body_that_is_not_called_json_is_a_415(content_type):
    async with an_edge() as (edge, client):
        headers = {"content-type": content_type} if content_type else {}
        answer = await client.post("/generate", content=b'{"prompt":"x"}', headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (415, "unsupported_media_type")
        assert edge.gateway.calls == []


@pytest.mark.parametrize(
    "content_type", ["application/json; charset=utf-8", "Application/JSON", 'application/json;charset="UTF-8"']
)
async def test_json_by_its_other_spellings_is_read(content_type):
    async with an_edge() as (_, client):
        answer = await client.post("/generate", content=b'{"prompt":"x"}', headers={"content-type": content_type})
        assert answer.status_code == 200


async def test_bytes_that_are_no_http_harm_nobody():
    async with an_edge() as (edge, client):
        for request in (
            b"\x00\x01\x02\r\n\r\n",
            b"GET / HTTP/9.9\r\n\r\n",
            b"POST /generate HTTP/1.1\r\ncontent-length: x\r\n\r\n",
        ):
            answer = await raw_exchange(edge.port, request)
            assert answer == b"" or answer.startswith(b"HTTP/1.1 4")
        assert (await client.post("/generate", json={"prompt": "x"})).status_code == 200


async def test_keys_and_prompts_reach_neither_log_nor_answer_when_we_are_at_fault(caplog):
    async with an_edge() as (edge, client):
        edge.gateway.refusal = RuntimeError("sk-secret and the prompt")
        answer = await client.post("/generate", json={"prompt": "x"})
        assert (answer.status_code, answer.json()["code"]) == (500, "internal_error")
        facts = await edge.telemetry.next()
        assert (facts.status, facts.error_code) == (500, "internal_error")
        errors = [record for record in caplog.records if record.levelname == "ERROR"]
        assert len(errors) == 1
        assert errors[0].trace_id == answer.headers["x-farthing-trace-id"]
        assert "sk-secret" not in json.dumps(answer.json()) + caplog.text
        assert "Traceback" not in answer.text
