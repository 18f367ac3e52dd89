"""What must not be found is planted everywhere, and then looked for wherever the service writes."""

import asyncio
import gzip
import json
from contextlib import asynccontextmanager
from pathlib import Path

from aiohttp import web

from tests.processes import farthing_serve, run_farthing
from tests.upstream import answer, close_after_request, garbage, raw, scripted_upstream, status, stream

PROMPT = "CANARY-PROMPT-5c1f"
PROVIDER_KEY = "sk-CANARY-PROVIDER-KEY-9a77"
ANSWER = "CANARY-ANSWER-e0b3"
FOREIGN_KEY = "sk-CANARY-CALLERS-OWN-KEY-77"
HOOK = "CANARY-HOOK-PATH-17d2"
HOOK_SECRET = "whsec_CANARYHOOKSECRETCANARYHOOKSECRET"
SECRETS = (PROMPT, PROVIDER_KEY, FOREIGN_KEY, HOOK, HOOK_SECRET)
CONFIG = """
[router]
unpriced = "free"
breaker_threshold = 1000
[telemetry]
otlp_endpoint = "http://127.0.0.1:{port}"
[[providers]]
name = "up"
dialect = "openai"
base_url = "{url}"
api_key = "$CANARY_KEY"
[[models]]
id = "up:m"
supports = ["tools", "vision", "json_schema"]
[[routes]]
name = "default"
targets = ["up:m"]
# The first call crosses it, and nobody listens where that is told.
[[ceilings]]
scope = "global"
window = "total"
unit = "calls"
limit = 100000
warn_at = [0.00001]
[[alerts]]
url = "http://127.0.0.1:9/{hook}?token={hook}"
secret = "{hook_secret}"
"""
READ = (
    "/alerts",
    "/ledger/spend?group_by=model,key,team,user,workflow,run,route,outcome,basis",
    "/ledger/latency",
    "/ledger/generations?limit=1000",
    "/ledger/ceilings",
    "/alerts",
    "/router/status",
    "/router/hints",
    "/metrics",
    "/v1/models",
    "/schema",
)


def refused(code: int):
    """A provider who repeats the prompt and the key in its error."""
    words = f"bad: {PROMPT} {PROVIDER_KEY}"
    return status(code, {"error": {"message": words, "type": PROMPT, "param": PROMPT, "code": "invalid_value"}})


# What the provider says, one a call.
SAYS = (
    answer(ANSWER),
    refused(400),
    refused(401),
    refused(404),
    refused(429),
    refused(500),
    status(502, f"<html>{PROMPT} {PROVIDER_KEY}</html>"),
    garbage(f'{{"{PROMPT}": '.encode()),
    garbage(f'{{"choices": "{PROMPT}{PROVIDER_KEY}"}}'.encode()),
    stream([ANSWER, f'{{"error": "{PROMPT}"}}'], then="cut"),
    raw(f"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\ndata: {{{PROMPT}\n\n".encode()),
    raw(f"{PROMPT} is no HTTP\r\n\r\n".encode()),
    close_after_request(),
)
# Each surface's way to say the prompt, in every place that has words.
TOOL = {"type": "function", "function": {"name": "t", "description": PROMPT, "parameters": {"title": PROMPT}}}
CHAT = {
    "model": "default",
    "max_tokens": 5,
    "messages": [
        {"role": "system", "content": PROMPT},
        {"role": "user", "content": [{"type": "text", "text": PROMPT}]},
        {
            "role": "assistant",
            "tool_calls": [{"id": PROMPT, "type": "function", "function": {"name": "t", "arguments": f'"{PROMPT}"'}}],
        },
        {"role": "tool", "tool_call_id": PROMPT, "content": PROMPT},
    ],
    "tools": [TOOL],
    "metadata": {"note": PROMPT},
    "prompt_cache_key": PROMPT,
    "an_unknown_field": PROMPT,
}
MESSAGES = {
    "model": "default",
    "max_tokens": 5,
    "system": PROMPT,
    "messages": [{"role": "user", "content": [{"type": "text", "text": PROMPT}]}],
}
ASKS = (
    ("/generate", {"prompt": PROMPT, "params": {"max_tokens": 5}}),
    ("/v1/chat/completions", CHAT),
    ("/v1/messages", MESSAGES),
    ("/v1/responses", {"model": "default", "input": PROMPT, "instructions": PROMPT}),
)
NONSENSE = (
    f'{{"prompt": "{PROMPT}", "prompt": "{PROMPT}"}}',
    f'{{"prompt": "{PROMPT}", "params": {{"max_tokens": "{PROMPT}"}}}}',
    f'{{"prompt": "{PROMPT}"',
    f'{{"prompt": ["{PROMPT}"]}}',
)


class Collector:
    """Keeps every byte that is exported to it."""

    def __init__(self) -> None:
        self.said = b""
        self.spans = asyncio.Event()

    async def take(self, request: web.Request) -> web.Response:
        body = await request.read()
        self.said += gzip.decompress(body) if body.startswith(b"\x1f\x8b") else body
        self.spans.set()
        return web.Response(content_type="application/x-protobuf")


@asynccontextmanager
async def a_collector():
    collector, app = Collector(), web.Application(client_max_size=2**28)
    app.router.add_post("/{path:.*}", collector.take)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        yield collector, runner.addresses[0][1]
    finally:
        await runner.cleanup()


async def test_neither_prompts_nor_secrets_are_found_where_they_must_not_be(tmp_path):
    headers = {"authorization": f"Bearer {FOREIGN_KEY}", "x-api-key": FOREIGN_KEY}
    async with scripted_upstream() as upstream, a_collector() as (collector, port):
        config = CONFIG.format(url=upstream.url, port=port, hook=HOOK, hook_secret=HOOK_SECRET)
        async with farthing_serve(tmp_path, config=config, environ={"CANARY_KEY": PROVIDER_KEY}) as service:
            told = ""
            for path, body in ASKS:
                for number, says in enumerate(SAYS):
                    # The block that an earlier error earned the deployment is lifted for each.
                    await service.http.delete(f"{service.url}/router/hints/up:m")
                    upstream.plays(says)
                    asked = {**body, "stream": number % 2 == 1}
                    # Unlike all before it, or it would be a hit.
                    named = {"x-farthing-workflow": f"{path}-{number}"}
                    if number == 0:
                        # What is kept under a key is its caller's own result: here, an answer.
                        named["idempotency-key"] = f"{path}-{number}"
                    async with service.http.post(service.url + path, json=asked, headers=headers | named) as answered:
                        told += f"{answered.headers}{await answered.text()}"
                        assert answered.status < 500 or answered.status in {502, 503}, (path, number)
                    upstream.forget_scripts()
            for body in NONSENSE:
                typed = headers | {"content-type": "application/json"}
                async with service.http.post(f"{service.url}/generate", data=body, headers=typed) as answered:
                    assert answered.status == 400
                    told += await answered.text()
            # A try has failed, in all the words that there are for it.
            await service.poll("/alerts", lambda it: "no connection" in str(it))
            reports = ""
            for path in READ:
                async with service.http.get(service.url + path) as answered:
                    assert answered.status == 200, path
                    reports += await answered.text()
            listed = await service.get("/ledger/generations?limit=1000")
            for generation in listed["generations"]:
                reports += json.dumps(await service.get(f"/ledger/generations/{generation['id']}"))
            service.terminate()
            assert await service.ended() == 0
            log = service.log
        code, verified, _ = await run_farthing(tmp_path, "verify", environ={"CANARY_KEY": PROVIDER_KEY})
        assert code == 0, verified
    # What a provider says of a call goes to its caller, and to nobody else; its own key goes to nobody.
    assert PROMPT in told
    assert PROVIDER_KEY not in told
    assert b"up" in collector.said
    for secret in SECRETS:
        assert secret.encode() not in collector.said, secret
        assert secret not in log, secret
        assert secret not in reports, secret
        for file in Path(tmp_path).glob("farthing.db*"):
            assert secret.encode() not in file.read_bytes(), (secret, file)
    assert ANSWER.encode() not in collector.said
    assert ANSWER not in log + reports
    # Answers are stored, and only they.
    assert any(ANSWER.encode() in file.read_bytes() for file in Path(tmp_path).glob("farthing.db*"))
