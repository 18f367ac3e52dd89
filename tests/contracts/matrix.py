"""Every surface in, every dialect out, everything callers ask for: what becomes of each.

`python -m tests.contracts.matrix` runs all of it against the real service and puts the table into the README; the test
beside it holds the README to it. A cell that is neither passed, translated, dropped by name nor refused by name fails.
"""

import json
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import httpx

from tests import anthropic_scripts as claude
from tests import gemini_scripts as gemini
from tests import openai_scripts as openai
from tests.loops import Runner
from tests.scripts import Script, answer, raw, status, stream
from tests.service.http.scripted import a_service
from tests.upstream import ScriptedUpstream, scripted_upstream

WORD: Final = "Farthing"
THOUGHT: Final = "thinking-of-coins"
TOOL: Final = "look_up_coin"
RESULT: Final = "minted-in-1842"
FIELD: Final = "coin_name"
PIXELS: Final = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="
WORDS_OF_ERROR: Final = "temperature is too hot"
URL: Final = "https://coins.example/half-farthing.png"
_IMAGES: Final = {"image": f"data:image/png;base64,{PIXELS}", "image by URL": URL}
SCHEMA: Final = {
    "type": "object",
    "properties": {FIELD: {"type": "string"}},
    "required": [FIELD],
    "additionalProperties": False,
}
ARGUMENTS: Final = {FIELD: WORD}
HALT: Final = "halt-here"
SEED: Final = 271_828
FEATURES: Final = (
    "plain", "stream", "tools", "tool result", "image", "image by URL", "reasoning", "JSON schema", "stop", "seed",
    "logprobs", "n", "error", "abort",
)  # fmt: skip
# What a surface has no words for.
UNSAID: Final = {
    "/generate": {"n"},
    "/v1/responses": {"stop", "seed", "n"},
    "/v1/messages": {"seed", "logprobs", "n"},
}
SURFACES: Final = {
    "/generate": "",
    "/v1/chat/completions": "openai",
    "/v1/responses": "openai responses",
    "/v1/messages": "anthropic",
}
# {dialect out: a model there}.
DIALECTS: Final = {
    "openai": "openai:gpt-5.1",
    "openai responses": "openai:gpt-5-pro",
    "anthropic": "anthropic:claude-sonnet-4-5",
    "gemini": "gemini:gemini-2.5-flash",
}
# Models that reason choose their tokens by themselves.
_SAMPLING: Final = ("stop", "seed", "logprobs", "n")
_SAMPLES: Final = {"openai:gpt-5.1": "openai:gpt-4.1"}
BEGIN: Final = "<!-- feature table: python -m tests.contracts.matrix -->\n"
END: Final = "<!-- end of the feature table -->\n"
README: Final = Path(__file__).parents[2] / "README.md"
CONFIG: Final = """
[ledger]
url = "sqlite:{folder}/matrix.db"
[router]
breaker_threshold = 1000
[[providers]]
name = "openai"
dialect = "openai"
base_url = "{url}"
[[providers]]
name = "anthropic"
dialect = "anthropic"
base_url = "{root}"
[[providers]]
name = "gemini"
dialect = "gemini"
base_url = "{root}"
"""

Json = dict[str, Any]


def asked(surface: str, feature: str, model: str) -> Json:
    """The request's body."""
    body = _BODIES[surface](feature)
    if feature in _SAMPLING:
        model = _SAMPLES.get(model, model)
    return {**body, "model": model, **({"stream": True} if feature in {"stream", "abort"} else {})}


def _chat(feature: str) -> Json:
    user: Json = {"role": "user", "content": "Which coin?"}
    function = {"name": TOOL, "description": "Looks it up", "parameters": SCHEMA}
    tools = [{"type": "function", "function": function}]
    body: Json = {"messages": [user], "max_tokens": 2000}
    if feature == "tools":
        body["tools"] = tools
    if feature == "tool result":
        called = {"id": "call_1", "type": "function", "function": {"name": TOOL, "arguments": json.dumps(ARGUMENTS)}}
        result = {"role": "tool", "tool_call_id": "call_1", "content": RESULT}
        body |= {"tools": tools, "messages": [user, {"role": "assistant", "tool_calls": [called]}, result]}
    if feature in _IMAGES:
        image = {"type": "image_url", "image_url": {"url": _IMAGES[feature]}}
        body["messages"] = [{"role": "user", "content": [{"type": "text", "text": "Which coin?"}, image]}]
    if feature == "reasoning":
        body["reasoning_effort"] = "medium"
    if feature == "JSON schema":
        schema = {"name": "coin", "schema": SCHEMA, "strict": True}
        body["response_format"] = {"type": "json_schema", "json_schema": schema}
    extras = {"stop": {"stop": [HALT]}, "seed": {"seed": SEED}, "logprobs": {"logprobs": True}, "n": {"n": 2}}
    return body | extras.get(feature, {})


def _native(feature: str) -> Json:
    chat = _chat(feature)
    return {"messages": chat.pop("messages"), "params": chat}


def _responses(feature: str) -> Json:
    user: Json = {"role": "user", "content": "Which coin?"}
    tools = [{"type": "function", "name": TOOL, "description": "Looks it up", "parameters": SCHEMA, "strict": True}]
    body: Json = {"input": [user], "max_output_tokens": 2000}
    if feature == "tools":
        body["tools"] = tools
    if feature == "tool result":
        call = {"type": "function_call", "call_id": "call_1", "name": TOOL, "arguments": json.dumps(ARGUMENTS)}
        result = {"type": "function_call_output", "call_id": "call_1", "output": RESULT}
        body |= {"tools": tools, "input": [user, call, result]}
    if feature in _IMAGES:
        image = {"type": "input_image", "image_url": _IMAGES[feature]}
        body["input"] = [{"role": "user", "content": [{"type": "input_text", "text": "Which coin?"}, image]}]
    if feature == "reasoning":
        body["reasoning"] = {"effort": "medium", "summary": "auto"}
    if feature == "JSON schema":
        body["text"] = {"format": {"type": "json_schema", "name": "coin", "schema": SCHEMA, "strict": True}}
    if feature == "logprobs":
        body |= {"include": ["message.output_text.logprobs"], "top_logprobs": 2}
    return body


def _messages(feature: str) -> Json:
    user: Json = {"role": "user", "content": "Which coin?"}
    tools = [{"name": TOOL, "description": "Looks it up", "input_schema": SCHEMA}]
    body: Json = {"messages": [user], "max_tokens": 2000}
    if feature == "tools":
        body["tools"] = tools
    if feature == "tool result":
        call = {"type": "tool_use", "id": "call_1", "name": TOOL, "input": ARGUMENTS}
        result = {"type": "tool_result", "tool_use_id": "call_1", "content": RESULT}
        told = [{"role": "assistant", "content": [call]}, {"role": "user", "content": [result]}]
        body |= {"tools": tools, "messages": [user, *told]}
    if feature in _IMAGES:
        by_url, by_data = {"type": "url", "url": URL}, {"type": "base64", "media_type": "image/png", "data": PIXELS}
        image = {"type": "image", "source": by_data if feature == "image" else by_url}
        body["messages"] = [{"role": "user", "content": [{"type": "text", "text": "Which coin?"}, image]}]
    if feature == "reasoning":
        body["thinking"] = {"type": "enabled", "budget_tokens": 1024}
    if feature == "JSON schema":
        body["output_config"] = {"format": {"type": "json_schema", "schema": SCHEMA}}
    if feature == "stop":
        body["stop_sequences"] = [HALT]
    return body


_BODIES: Final = {
    "/generate": _native,
    "/v1/chat/completions": _chat,
    "/v1/responses": _responses,
    "/v1/messages": _messages,
}


def said(dialect: str, feature: str) -> Script:
    """What the provider answers."""
    if feature == "abort":
        return _ABORTS[dialect]
    if feature == "error":
        return status(400, _ERRORS[dialect])
    return _ANSWERS[dialect](feature)


def _says_chat(feature: str) -> Script:
    if feature == "tools":
        function = {"name": TOOL, "arguments": json.dumps(ARGUMENTS)}
        call = {"index": 0, "id": "call_1", "type": "function", "function": function}
        return answer("", message={"tool_calls": [call]}, finish_reason="tool_calls")
    return answer(WORD, message={"reasoning_content": THOUGHT} if feature == "reasoning" else None)


def _says_response(feature: str) -> Script:
    if feature == "stream":
        return openai.responded(WORD)
    item = openai.text_item(WORD)
    thought = {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": THOUGHT}]}
    call = {"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": TOOL, "status": "completed"}
    items = {"tools": [{**call, "arguments": json.dumps(ARGUMENTS)}], "reasoning": [thought, item]}
    return status(200, openai.a_response(*items.get(feature, [item])))


def _says_message(feature: str) -> Script:
    if feature == "tools":
        use = {"type": "tool_use", "id": "call_1", "name": TOOL, "input": ARGUMENTS}
        return status(200, claude.whole([use], stop_reason="tool_use"))
    if feature == "reasoning":
        thought = {"type": "thinking", "thinking": THOUGHT, "signature": "c2ln"}
        return status(200, claude.whole([thought, {"type": "text", "text": WORD}]))
    return claude.message(WORD)


def _says_content(feature: str) -> Script:
    if feature == "tools":
        return status(200, gemini.said({"functionCall": {"name": TOOL, "args": ARGUMENTS}}, reason="STOP"))
    if feature == "reasoning":
        return status(200, gemini.said({"text": THOUGHT, "thought": True}, {"text": WORD}, reason="STOP"))
    return gemini.content(WORD)


_ANSWERS: Final = {
    "openai": _says_chat,
    "openai responses": _says_response,
    "anthropic": _says_message,
    "gemini": _says_content,
}
_ERRORS: Final = {
    "openai": {"error": {"message": WORDS_OF_ERROR, "type": "invalid_request_error", "param": None, "code": None}},
    "openai responses": {"error": {"message": WORDS_OF_ERROR, "type": "invalid_request_error", "param": None}},
    "anthropic": {"type": "error", "error": {"type": "invalid_request_error", "message": WORDS_OF_ERROR}},
    "gemini": gemini.error(400, "INVALID_ARGUMENT", WORDS_OF_ERROR),
}
_BEGUN: Final = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n"
_ABORTS: Final = {
    "openai": stream([WORD], then="hang"),
    "openai responses": raw(_BEGUN + openai.events(*openai.text_events(f"{WORD} on")[:5]), then="hang"),
    "anthropic": raw(_BEGUN + claude.encoded(claude.streamed(f"{WORD} on")[:4]), then="hang"),
    "gemini": raw(_BEGUN + gemini.encoded(gemini.streamed(f"{WORD} on")[:1]), then="hang"),
}
# What the provider must have been asked, where the feature is not left out.
_SENT: Final[Mapping[str, tuple[str, ...]]] = {
    "tools": (TOOL,),
    "tool result": (RESULT,),
    "image": (PIXELS,),
    "image by URL": (URL,),
    "JSON schema": (FIELD,),
    "reasoning": ("reasoning_effort", '"reasoning"', '"thinking"', "thinkingConfig"),
    "stop": (HALT,),
    "seed": (str(SEED),),
    "logprobs": ("logprobs", "responseLogprobs"),
    "n": ('"n"', "candidateCount"),
}
_HEARD: Final[Mapping[str, str]] = {"tools": TOOL, "reasoning": THOUGHT, "error": WORDS_OF_ERROR}


async def cell(client: httpx.AsyncClient, upstream: ScriptedUpstream, surface: str, dialect: str, feature: str) -> str:
    """What became of it: passed, translated, dropped or refused. Raises AssertionError for anything else."""
    upstream.forget_scripts()
    upstream.plays(said(dialect, feature))
    before = len(upstream.requests)
    body = asked(surface, feature, DIALECTS[dialect])
    headers = {"x-farthing-cache": "bypass"}
    if feature == "abort":
        return await _aborted(client, upstream, surface, body, dialect)
    answered = await client.post(surface, json=body, headers=headers)
    place, text = f"{surface} → {dialect}, {feature}", answered.text
    if len(upstream.requests) == before:
        assert answered.status_code == 400, (place, text)
        assert any(name in text for name in ("messages", "input", "image", "tools")), (place, text)
        return "refused"
    sent = json.dumps(upstream.requests[before].body)
    if feature == "error":
        assert answered.status_code == 400, (place, text)
        assert "upstream_rejected" in text, (place, text)
    else:
        assert answered.status_code == 200, (place, text)
    if not any(name in sent for name in _SENT.get(feature, ("",))):
        assert answered.headers.get("x-farthing-dropped"), (place, sent)
        return "dropped"
    if not (surface == "/generate" and feature == "reasoning"):
        # The native answer has no words for thoughts.
        assert _HEARD.get(feature, WORD) in text, (place, text)
    return _as_it_is(surface, dialect)


async def _aborted(
    client: httpx.AsyncClient, upstream: ScriptedUpstream, surface: str, body: Json, dialect: str
) -> str:
    """The caller leaves after the first output: so do we."""
    before = len(upstream.requests)
    async with client.stream("POST", surface, json=body, headers={"x-farthing-cache": "bypass"}) as answered:
        assert answered.status_code == 200, (surface, dialect)
        said_so_far = ""
        async for piece in answered.aiter_text():
            said_so_far += piece
            if WORD in said_so_far:
                break
    await upstream.until(lambda it: it.requests[before].closed)
    return _as_it_is(surface, dialect)


def _as_it_is(surface: str, dialect: str) -> str:
    return "passed" if SURFACES[surface] == dialect else "translated"


async def matrix(folder: Path) -> dict[tuple[str, str, str], str]:
    """{(surface, dialect, feature): what becomes of it}."""
    async with scripted_upstream() as upstream:
        config = folder / "farthing.toml"
        config.write_text(CONFIG.format(folder=folder, url=upstream.url, root=upstream.root), "utf-8")
        async with a_service(config) as (_, client):
            return {
                (surface, dialect, feature): await cell(client, upstream, surface, dialect, feature)
                for feature in FEATURES
                for surface in SURFACES
                if feature not in UNSAID.get(surface, ())
                for dialect in DIALECTS
            }


def table(cells: Mapping[tuple[str, str, str], str]) -> str:
    """For the README: a row a feature, a column a dialect out, in a cell what becomes of it from each surface."""
    lines = [f"| | {' | '.join(DIALECTS)} |", f"| --- |{' --- |' * len(DIALECTS)}"]
    for feature in FEATURES:
        columns = []
        for dialect in DIALECTS:
            became = {
                surface: cells[surface, dialect, feature]
                for surface in SURFACES
                if (surface, dialect, feature) in cells
            }
            columns.append(_told(became))
        lines.append(f"| {feature} | {' | '.join(columns)} |")
    return "\n".join(lines) + "\n"


def _told(became: Mapping[str, str]) -> str:
    """One cell: yes, or which surfaces fare otherwise."""
    otherwise = [f"`{surface}` {what}" for surface, what in became.items() if what in {"dropped", "refused"}]
    if len(otherwise) == len(became):
        return " and ".join(sorted(set(became.values())))
    return "yes" if not otherwise else f"yes; {', '.join(otherwise)}"


def main() -> None:
    """Run it all and put the table into the README."""
    with tempfile.TemporaryDirectory() as folder, Runner() as runner:
        made = table(runner.run(matrix(Path(folder))))
    before, _, rest = README.read_text("utf-8").partition(BEGIN)
    after = rest.partition(END)[2]
    README.write_text(f"{before}{BEGIN}{made}{END}{after}", "utf-8")
    sys.stdout.write(made)


if __name__ == "__main__":
    main()
