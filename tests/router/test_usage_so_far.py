"""What breaks off is charged by what its provider had said that it read, and by our count of what it wrote."""

import json
from pathlib import Path

import pytest

from ledger.prices import Price
from ledger.prices.price import Tier
from router.errors import DeadlineExceeded, UpstreamFailed
from tests import anthropic_scripts as anthropic
from tests import gemini_scripts as gemini
from tests.router.gateways import a_call, a_deployment, open_gateway
from tests.upstream import Script, raw, scripted_upstream

# By the token: what is read afresh 100, from a cache 10, into one 125; what is written 400.
PRICE = Price(
    version="test", base=Tier(input=100 * 10**6, cached_input=10**7, cache_write=125 * 10**6, output=4 * 10**8)
)
CHUNK_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"
WORDS = 5


def claude(**usage: int) -> Script:
    said = anthropic.streamed("one two three four five six", usage={**anthropic.USAGE, **usage})
    return anthropic.events(said[: 3 + WORDS])


def google(**usage: int) -> Script:
    return gemini.events([gemini.said({"text": f"{n} "}, usage=usage) for n in range(WORDS)])


def counting(**usage: int) -> Script:
    """As servers of OpenAI's format that repeat with every chunk what they have counted."""
    chunks = [
        {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "usage": usage,
         "choices": [{"index": 0, "delta": {"content": f"{n} "}, "finish_reason": None}]}
        for n in range(WORDS)
    ]  # fmt: skip
    return raw(CHUNK_HEAD + b"".join(f"data: {json.dumps(chunk)}\n\n".encode() for chunk in chunks))


@pytest.mark.parametrize(
    ("dialect", "cut", "read_nanousd"),
    [
        (
            "anthropic",
            claude(input_tokens=9, cache_read_input_tokens=400, cache_creation_input_tokens=3),
            9 * 100 + 4375,
        ),
        ("gemini", google(promptTokenCount=409, cachedContentTokenCount=400), 9 * 100 + 4000),
        ("openai", counting(prompt_tokens=9, completion_tokens=2, total_tokens=11), 900),
    ],
)
async def test_what_was_said_to_be_read_is_charged_by_its_price(
    tmp_path: Path, dialect: str, cut: Script, read_nanousd: int
):
    async with scripted_upstream() as upstream:
        target = a_deployment("a", upstream.url, price=PRICE, dialect=dialect)
        async with open_gateway(tmp_path, upstream, targets=(target,)) as house:
            upstream.plays(cut)
            call = a_call("word " * 500, stream=True)
            with pytest.raises(UpstreamFailed):
                await house.ask(call)
            (hold,) = house.holds(call.generation_id)
            assert (hold["outcome"], hold["cost_basis"]) == ("cut", "estimated")
            written = hold["cost_nanousd"] - read_nanousd
            assert WORDS * 400 <= written <= 2 * WORDS * 400


async def test_who_leaves_before_the_first_word_pays_for_what_was_read(tmp_path: Path):
    async with scripted_upstream() as upstream:
        target = a_deployment("a", upstream.url, price=PRICE, dialect="anthropic")
        async with open_gateway(tmp_path, upstream, targets=(target,)) as house:
            begun = anthropic.start(usage={"input_tokens": 2, "cache_read_input_tokens": 500, "output_tokens": 1})
            upstream.plays(raw(anthropic.HEAD + anthropic.encoded([begun]), then="hang"))
            call = a_call("word " * 500, stream=True, deadline_s=3.0)
            with pytest.raises(DeadlineExceeded):
                await house.ask(call)
            await house.gateway.aclose()
            (hold,) = house.holds(call.generation_id)
            assert (hold["outcome"], hold["cost_basis"]) == ("aborted", "estimated")
            assert hold["cost_nanousd"] == 2 * 100 + 500 * 10 + 1 * 400
