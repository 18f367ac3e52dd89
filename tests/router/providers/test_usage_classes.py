"""Each provider's usage object becomes disjoint classes that sum to the provider's own totals, or nothing."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.prices.price import Price, Tier
from ledger.usage import Usage
from router.providers.anthropic.usage import Counts as AnthropicCounts
from router.providers.gemini.usage import Counts as GeminiCounts
from router.providers.reading import usage_from

PRICE = Price(version="v", base=Tier(**{name: rate * 7 for rate, name in enumerate(Tier.__struct_fields__, 1)}))


def chat(said: Any) -> Usage | None:
    return usage_from(said, prompt="prompt_tokens", completion="completion_tokens")


def responses(said: Any) -> Usage | None:
    return usage_from(said, prompt="input_tokens", completion="output_tokens")


def anthropic(*said: Any) -> Usage | None:
    counts = AnthropicCounts()
    for one in said:
        counts.add(one, is_final=one is said[-1])
    return counts.usage()


def gemini(*said: Any) -> Usage | None:
    counts = GeminiCounts()
    for one in said:
        counts.add(one)
    return counts.usage()


def of_modality(**counts: int) -> list[dict[str, Any]]:
    return [{"modality": modality, "tokenCount": count} for modality, count in counts.items()]


SPOKEN = {
    "prompt_tokens": 100,
    "completion_tokens": 70,
    "total_tokens": 170,
    "prompt_tokens_details": {"cached_tokens": 30, "audio_tokens": 20, "image_tokens": 10, "text_tokens": 70},
    "completion_tokens_details": {"reasoning_tokens": 8, "audio_tokens": 50, "text_tokens": 12},
}
SPOKEN_USAGE = Usage(
    input_tokens=40,
    cached_tokens=30,
    input_audio_tokens=20,
    input_image_tokens=10,
    output_tokens=12,
    reasoning_tokens=8,
    output_audio_tokens=50,
)
STEPS: list[dict[str, Any]] = [
    {
        "type": "compaction",
        "input_tokens": 180,
        "cache_read_input_tokens": 5,
        "cache_creation_input_tokens": 2,
        "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 2},
        "output_tokens": 35,
        "output_tokens_details": {"thinking_tokens": 1},
    },
    {"type": "message", "input_tokens": 9, "output_tokens": 7},
]
WRITTEN = {"input_tokens": 9, "cache_creation_input_tokens": 30, "cache_read_input_tokens": 4}


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        (chat(SPOKEN), SPOKEN_USAGE),
        # What is cached, or newly so, is text first, then images; audio last.
        (
            chat({
                "prompt_tokens": 100,
                "completion_tokens": 0,
                "prompt_tokens_details": {"cached_tokens": 60, "cache_write_tokens": 35, "audio_tokens": 8},
            }),
            Usage(cached_tokens=57, cached_audio_tokens=3, cache_write_tokens=35, input_audio_tokens=5),
        ),
        (
            chat({
                "prompt_tokens": 100,
                "completion_tokens": 0,
                "prompt_tokens_details": {"cache_write_tokens": 90, "image_tokens": 20},
            }),
            Usage(cache_write_tokens=90, input_image_tokens=10),
        ),
        (chat({**SPOKEN, "prompt_tokens_details": {"audio_tokens": 60, "image_tokens": 41}}), None),
        (chat({**SPOKEN, "prompt_tokens_details": {"audio_tokens": -1}}), None),
        (chat({**SPOKEN, "prompt_tokens_details": {"audio_tokens": True}}), None),
        (chat({**SPOKEN, "prompt_tokens_details": {"cached_tokens": 60, "cache_write_tokens": 41}}), None),
        (chat({**SPOKEN, "completion_tokens_details": {"reasoning_tokens": 21, "audio_tokens": 50}}), None),
        # Zero is a value, missing is not.
        (chat({"prompt_tokens": 0, "completion_tokens": 0, "prompt_tokens_details": {"audio_tokens": 0}}), Usage()),
        (chat({"prompt_tokens": None, "completion_tokens": 0}), None),
        (
            responses({
                "input_tokens": 50,
                "input_tokens_details": {"text_tokens": 10, "image_tokens": 40},
                "output_tokens": 60,
                "output_tokens_details": {"image_tokens": 60},
            }),
            Usage(input_tokens=10, input_image_tokens=40, output_image_tokens=60),
        ),
        (
            anthropic(
                {**WRITTEN, "cache_creation": {"ephemeral_5m_input_tokens": 10, "ephemeral_1h_input_tokens": 20}},
                {"output_tokens": 7, "server_tool_use": {"web_search_requests": 3}},
            ),
            Usage(
                input_tokens=9, cached_tokens=4, cache_write_tokens=10, cache_write_1h_tokens=20, output_tokens=7
            ),
        ),
        (
            anthropic({**WRITTEN, "cache_creation": None}, {"output_tokens": 0}),
            Usage(input_tokens=9, cached_tokens=4, cache_write_tokens=30),
        ),
        # A total that has grown since, of which nobody says for how long.
        (
            anthropic(
                {**WRITTEN, "cache_creation": {"ephemeral_5m_input_tokens": 30, "ephemeral_1h_input_tokens": 0}},
                {"output_tokens": 7, "cache_creation_input_tokens": 50},
            ),
            Usage(input_tokens=9, cached_tokens=4, cache_write_tokens=50, output_tokens=7),
        ),
        (
            anthropic(
                {**WRITTEN, "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 30}},
                {"output_tokens": 7, "cache_creation_input_tokens": 50},
            ),
            Usage(input_tokens=9, cached_tokens=4, cache_write_1h_tokens=50, output_tokens=7),
        ),
        (
            anthropic({
                "input_tokens": 9,
                "output_tokens": 7,
                "cache_creation": {"ephemeral_5m_input_tokens": 2, "ephemeral_1h_input_tokens": 3},
            }),
            Usage(input_tokens=9, cache_write_tokens=2, cache_write_1h_tokens=3, output_tokens=7),
        ),
        (anthropic({**WRITTEN, "cache_creation": {"ephemeral_1h_input_tokens": 31}}, {"output_tokens": 7}), None),
        # What an answer's own counts leave out. The steps of a stream are told with each usage object, all so far.
        (
            anthropic({**WRITTEN, "iterations": STEPS[:1]}, {"output_tokens": 7, "iterations": STEPS}),
            Usage(
                input_tokens=189,
                cached_tokens=9,
                cache_write_tokens=30,
                cache_write_1h_tokens=2,
                output_tokens=41,
                reasoning_tokens=1,
            ),
        ),
        (anthropic({**WRITTEN, "output_tokens": 7, "iterations": [{**STEPS[0], "output_tokens": "35"}]}), None),
        (
            anthropic({**WRITTEN, "output_tokens": 7, "iterations": None}),
            Usage(input_tokens=9, cached_tokens=4, cache_write_tokens=30, output_tokens=7),
        ),
        (anthropic({**WRITTEN, "cache_creation": {"ephemeral_1h_input_tokens": "3"}}, {"output_tokens": 7}), None),
        (
            gemini(
                {"promptTokenCount": 100, "promptTokensDetails": of_modality(TEXT=60, AUDIO=30, IMAGE=10)},
                {
                    "promptTokenCount": 100,
                    "cachedContentTokenCount": 50,
                    "cacheTokensDetails": of_modality(TEXT=45, AUDIO=5),
                    "candidatesTokenCount": 1300,
                    "candidatesTokensDetails": of_modality(TEXT=10, IMAGE=1290),
                    "thoughtsTokenCount": 25,
                    "toolUsePromptTokenCount": 3,
                    "totalTokenCount": 1428,
                },
            ),
            Usage(
                input_tokens=18,
                cached_tokens=45,
                input_audio_tokens=25,
                cached_audio_tokens=5,
                input_image_tokens=10,
                output_tokens=10,
                reasoning_tokens=25,
                output_image_tokens=1290,
            ),
        ),
        # The cache says what it holds, and audio is not among it.
        (
            gemini({
                "promptTokenCount": 10,
                "promptTokensDetails": of_modality(AUDIO=8, VIDEO=2),
                "cachedContentTokenCount": 2,
                "cacheTokensDetails": of_modality(VIDEO=2),
            }),
            Usage(cached_tokens=2, input_audio_tokens=8),
        ),
        (gemini({"promptTokenCount": 10, "promptTokensDetails": of_modality(AUDIO=11)}), None),
        (gemini({"promptTokenCount": 10, "candidatesTokensDetails": of_modality(IMAGE=1)}), None),
        (gemini({"promptTokenCount": 10, "promptTokensDetails": of_modality(AUDIO=-1)}), None),
        (gemini({"promptTokenCount": 9, "promptTokensDetails": 1, "cacheTokensDetails": [1]}), Usage(input_tokens=9)),
    ],
)  # fmt: skip
def test_what_a_provider_says_is_in_its_classes(usage: Usage | None, expected: Usage | None) -> None:
    assert usage == expected


def summed(usage: Usage | None, read: int, written: int) -> None:
    """A usage that is believed is all that was said, in classes that each cost something of their own."""
    if usage is None:
        return
    assert (usage.prompt_tokens, usage.completion_tokens, sum(usage.counts)) == (read, written, read + written)
    each = [Usage(**{name: count}) for name, count in zip(usage.__struct_fields__, usage.counts, strict=True)]
    cost_nanousd = sum(PRICE.cost_nanousd(one) for one in each)
    assert PRICE.cost_nanousd(usage) == cost_nanousd == sum(charge.cost_nanousd for charge in PRICE.explain(usage))


COUNT = st.integers(0, 30)
TOTAL = st.integers(0, 100)


def objects(required: tuple[str, ...], optional: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(dict.fromkeys(required, TOTAL), optional=optional)


def details(*names: str) -> st.SearchStrategy[dict[str, Any] | None]:
    return st.none() | st.fixed_dictionaries({}, optional=dict.fromkeys(names, COUNT))


MODALITIES = st.lists(
    st.fixed_dictionaries({"modality": st.sampled_from(["TEXT", "AUDIO", "IMAGE", "VIDEO"]), "tokenCount": COUNT}),
    max_size=3,
    unique_by=lambda part: str(part["modality"]),
)


@settings(max_examples=150, deadline=None)
@given(
    objects(
        ("prompt_tokens", "completion_tokens"),
        {
            "prompt_tokens_details": details("cached_tokens", "cache_write_tokens", "audio_tokens", "image_tokens"),
            "completion_tokens_details": details("reasoning_tokens", "audio_tokens", "image_tokens"),
        },
    )
)
def test_openais_classes_sum_to_its_totals(said: dict[str, Any]) -> None:
    summed(chat(said), said["prompt_tokens"], said["completion_tokens"])


@settings(max_examples=150, deadline=None)
@given(
    objects(
        ("input_tokens", "output_tokens"),
        {
            "cache_creation_input_tokens": TOTAL,
            "cache_read_input_tokens": TOTAL,
            "cache_creation": details("ephemeral_5m_input_tokens", "ephemeral_1h_input_tokens"),
            "output_tokens_details": details("thinking_tokens"),
        },
    )
)
def test_anthropics_classes_sum_to_its_totals(said: dict[str, Any]) -> None:
    lives = said.get("cache_creation") or {}
    written = said.get("cache_creation_input_tokens", sum(lives.values()))
    read = said["input_tokens"] + said.get("cache_read_input_tokens", 0) + written
    summed(anthropic(said), read, said["output_tokens"])


@settings(max_examples=150, deadline=None)
@given(
    objects(
        ("promptTokenCount",),
        {
            "cachedContentTokenCount": COUNT,
            "toolUsePromptTokenCount": COUNT,
            "candidatesTokenCount": TOTAL,
            "thoughtsTokenCount": COUNT,
            "promptTokensDetails": MODALITIES,
            "cacheTokensDetails": MODALITIES,
            "candidatesTokensDetails": MODALITIES,
        },
    )
)
def test_geminis_classes_sum_to_its_totals(said: dict[str, Any]) -> None:
    read = said["promptTokenCount"] + said.get("toolUsePromptTokenCount", 0)
    summed(gemini(said), read, said.get("candidatesTokenCount", 0) + said.get("thoughtsTokenCount", 0))
