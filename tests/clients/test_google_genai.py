"""Google's own `google-genai` package as the judge of both sides of the Gemini dialect.

Its client reads what the scripted provider says, so those scripts have the real shapes; its types read what Farthing
sends. They forbid fields that they do not know.
"""

from pathlib import Path
from typing import Any

import pytest

from tests import gemini_scripts as gemini
from tests.contracts.matrix import ARGUMENTS, DIALECTS, TOOL, asked, said
from tests.service.http.scripted import a_service
from tests.upstream import scripted_upstream

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

CONFIG = """
[ledger]
url = "sqlite:{folder}/genai.db"
[[providers]]
name = "gemini"
dialect = "gemini"
base_url = "{root}"
"""
SENT_WITH = ("plain", "tools", "tool result", "image", "image by URL", "reasoning", "JSON schema", "stop", "seed")


async def test_googles_client_reads_what_the_scripted_provider_says():
    genai = pytest.importorskip("google.genai")
    from google.genai import types

    async with scripted_upstream() as upstream:
        options = types.HttpOptions(base_url=upstream.root)
        async with genai.Client(api_key="unused", http_options=options).aio as client:
            upstream.plays(said("gemini", "plain"), said("gemini", "tools"), gemini.content("by and by"))
            plain = await client.models.generate_content(model="gemini-test", contents="hello")
            assert (plain.text, plain.usage_metadata.total_token_count) == ("Farthing", 20)
            called = await client.models.generate_content(model="gemini-test", contents="hello")
            assert [(call.name, call.args) for call in called.function_calls] == [(TOOL, ARGUMENTS)]
            stream = await client.models.generate_content_stream(model="gemini-test", contents="hello")
            assert "".join([piece.text or "" async for piece in stream]) == "by and by"


async def test_googles_types_know_every_field_that_is_sent(tmp_path):
    pytest.importorskip("google.genai")
    async with scripted_upstream() as upstream:
        config = Path(tmp_path) / "farthing.toml"
        config.write_text(CONFIG.format(folder=tmp_path, root=upstream.root), "utf-8")
        async with a_service(config) as (_, client):
            for feature in SENT_WITH:
                for surface in ("/v1/chat/completions", "/v1/messages"):
                    upstream.plays(said("gemini", feature))
                    answered = await client.post(surface, json=asked(surface, feature, DIALECTS["gemini"]))
                    assert answered.status_code == 200, (surface, feature, answered.text)
    assert len(upstream.requests) > len(SENT_WITH)
    for request in upstream.requests:
        judge(request.body)


def judge(body: dict[str, Any]) -> None:
    """Raise unless Google's types take all of this request."""
    from google.genai import types

    kinds = {
        "contents": types.Content,
        "systemInstruction": types.Content,
        "tools": types.Tool,
        "toolConfig": types.ToolConfig,
        "safetySettings": types.SafetySetting,
        "generationConfig": types.GenerationConfig,
    }
    assert body["contents"]
    for name, value in body.items():
        for part in value if isinstance(value, list) else [value]:
            kinds[name].model_validate(part)
