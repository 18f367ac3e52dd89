"""A hold covers the dearest class that its call can use, and no dearer one."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from ledger.ceilings import Ceiling
from ledger.prices import load_book
from ledger.prices.price import Kinds, Price, Tier
from router.errors import UnboundedCost
from router.kinds import bound_nanousd, kinds_of
from router.providers.anthropic.native import Own
from tests.router.gateways import PRICE, READ_NANOUSD, WRITTEN_NANOUSD, a_call, a_deployment, open_gateway
from tests.upstream import scripted_upstream, status

NONE = Kinds(caches_1h=False, hears=False, sees=False, speaks=False, draws=False)
TEXT = {"type": "text", "text": "hi"}
IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}}
AUDIO = {"type": "input_audio", "input_audio": {"data": "AA", "format": "wav"}}
FILE = {"type": "file", "file": {"file_data": "data:application/pdf;base64,AA"}}
HOUR = {"type": "ephemeral", "ttl": "1h"}
SHORT = {"type": "ephemeral", "ttl": "5m"}


def body_of(*parts: Any, **more: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": list(parts)}], "modalities": ["text"], **more}


@pytest.mark.parametrize(
    ("body", "used"),
    [
        (body_of(TEXT), set()),
        ({"messages": [{"role": "user", "content": "hi"}]}, {"draws"}),
        (body_of(TEXT, IMAGE), {"sees"}),
        (body_of(AUDIO), {"hears"}),
        (body_of(FILE), {"hears", "sees"}),
        (body_of({"type": "tool_result", "content": [TEXT, IMAGE]}), {"sees"}),
        (body_of(None), {"hears", "sees"}),
        (body_of({"type": []}), {"hears", "sees"}),
        ({"messages": [1, {"content": {}}], "tools": {}, "modalities": "all"}, {"draws"}),
        (body_of(TEXT, modalities=["text", "audio"]), {"speaks"}),
        (body_of(TEXT, modalities=["image"]), {"draws"}),
        (body_of({**TEXT, "cache_control": HOUR}), {"caches_1h"}),
        (body_of({**TEXT, "cache_control": SHORT}), set()),
        (body_of(TEXT, tools=[{"name": "f", "cache_control": HOUR}]), {"caches_1h"}),
        (body_of(TEXT, anthropic=Own({"cache_control": HOUR})), {"caches_1h"}),
        (body_of({"type": "tool_result", "content": [{**TEXT, "cache_control": HOUR}]}), {"caches_1h"}),
    ],
)
def test_what_a_body_may_use(body: dict[str, Any], used: set[str]) -> None:
    kinds = kinds_of(body)
    assert {name for name in kinds.__struct_fields__ if getattr(kinds, name)} == used


@pytest.mark.parametrize("name", ["cache_write_1h", "input_audio", "cached_audio", "input_image"])
def test_a_dear_class_of_input_is_held_for_only_by_calls_that_may_use_it(name: str) -> None:
    price = Price(version="v", base=Tier(input=10**6, output=10**6, **{name: 9 * 10**6}))
    dear = body_of({**TEXT, "cache_control": HOUR}, FILE)
    assert bound_nanousd(price, body_of(TEXT), 10, 10) == 20
    assert bound_nanousd(price, dear, 10, 10) == 100


@pytest.mark.parametrize(("name", "asked"), [("output_audio", "audio"), ("output_image", "image")])
def test_a_dear_class_of_output_is_held_for_only_by_calls_that_may_use_it(name: str, asked: str) -> None:
    price = Price(version="v", base=Tier(input=10**6, output=10**6, **{name: 9 * 10**6}))
    assert bound_nanousd(price, body_of(TEXT), 10, 10) == 20
    assert bound_nanousd(price, body_of(TEXT, modalities=["text", asked]), 10, 10) == 100


def test_an_hour_in_claudes_cache_costs_twice_its_input_and_five_minutes_a_quarter_more() -> None:
    book = load_book()
    urls = {"anthropic": "https://api.anthropic.com", "openrouter": "https://openrouter.ai/api/v1"}
    names = {"anthropic": "claude-sonnet-4-5", "openrouter": "anthropic/claude-fable-5"}
    for vendor, model in names.items():
        price = book.find(base_url=urls[vendor], vendor=vendor, model=model, date="2026-11-21")
        assert price is not None
        tier = price.base
        assert (tier.cache_write, tier.cache_write_1h) == (tier.input * 5 // 4, 2 * tier.input)


def test_the_book_has_what_audio_and_images_cost() -> None:
    google, openai = "https://generativelanguage.googleapis.com", "https://api.openai.com/v1"
    book = load_book()
    flash = book.find(base_url=google, vendor="google", model="gemini-2.5-flash", date="2026-11-21")
    audio = book.find(base_url=openai, vendor="openai", model="gpt-audio", date="2026-11-21")
    image = book.find(base_url=google, vendor="google", model="gemini-2.5-flash-image", date="2026-11-21")
    assert flash is not None
    assert audio is not None
    assert image is not None
    assert (flash.base.input_audio, flash.base.cached_audio) == (10**9, 10**8)
    assert (audio.base.input_audio, audio.base.output_audio) == (32 * 10**9, 64 * 10**9)
    assert image.base.output_image == 30 * 10**9


SPOKEN = {
    "choices": [
        {"index": 0, "message": {"content": None, "audio": {"id": "a1", "data": "AA"}}, "finish_reason": "stop"}
    ],
    "usage": {
        "prompt_tokens": 20,
        "completion_tokens": 50,
        "prompt_tokens_details": {"audio_tokens": 12},
        "completion_tokens_details": {"audio_tokens": 40, "text_tokens": 10},
    },
}
DAY = Ceiling(scope="global", window="day", limit=10**9)


async def test_speech_is_held_for_and_charged_at_its_own_price_and_refused_under_a_ceiling_where_it_has_none(
    tmp_path: Path,
) -> None:
    loud = msgspec.structs.replace(PRICE.base, input_audio=7 * 10**9, output_audio=9 * 10**9)
    call = a_call(body={"modalities": ["text", "audio"], "audio": {"voice": "alloy", "format": "wav"}})
    async with scripted_upstream() as upstream:
        priced = a_deployment("a", upstream.url, price=msgspec.structs.replace(PRICE, base=loud))
        async with open_gateway(tmp_path, targets=(priced,), ceilings=(DAY,)) as house:
            upstream.plays(status(200, SPOKEN))
            finished = await house.ask(call)
            (line,) = house.rows(
                "SELECT overrun_nanousd, input_audio_tokens, output_audio_tokens, held_nanousd "
                "FROM postings JOIN holds USING (hold_id)"
            )
        cost_nanousd = 8 * READ_NANOUSD + 12 * 7000 + 10 * WRITTEN_NANOUSD + 40 * 9000
        assert finished.receipt.cost_nanousd == cost_nanousd < line["held_nanousd"]
        assert (line["overrun_nanousd"], line["input_audio_tokens"], line["output_audio_tokens"]) == (0, 12, 40)
        (folder := tmp_path / "unpriced").mkdir()
        async with open_gateway(folder, upstream, ceilings=(DAY,)) as house:
            with pytest.raises(UnboundedCost):
                await house.ask(a_call(body=call.body))
