"""Counting: exact for text, linear for anything, and never in anybody's way."""

import asyncio
import time

import pytest
import tiktoken

from router.tokens import TokenCounter, encoding_for
from router.tokens.chat import PER_IMAGE, structure_of
from router.tokens.counter import SAMPLE_CHARS
from router.tokens.encodings import ENCODINGS, load_encoding
from tests.router.gateways import a_call


@pytest.mark.parametrize("name", ENCODINGS)
def test_the_packed_vocabulary_is_openais(name):
    encoding = load_encoding(name)
    assert encoding.decode(encoding.encode_ordinary("Grüße, 世界! <|endoftext|>")) == "Grüße, 世界! <|endoftext|>"
    assert encoding.n_vocab == {"o200k_base": 200019, "cl100k_base": 100277}[name]
    assert not encoding._mergeable_ranks  # Its core has them; twice is 29 MB more.


def test_known_counts_are_met():
    assert len(load_encoding("cl100k_base").encode_ordinary("tiktoken is great!")) == 6
    assert isinstance(load_encoding("o200k_base"), tiktoken.Encoding)


def test_families_have_their_encoding_and_all_else_the_default():
    assert encoding_for("gpt-4o-mini") == encoding_for("gpt-5-nano") == encoding_for("o3") == "o200k_base"
    assert encoding_for("gpt-4-turbo") == encoding_for("gpt-3.5-turbo") == "cl100k_base"
    assert encoding_for("openai/gpt-4") == "cl100k_base"
    assert encoding_for("claude-sonnet-4-5") == encoding_for("") == "o200k_base"


async def test_the_cookbooks_chat_is_counted_as_the_cookbook_says():
    jargon = "You are a helpful, pattern-following assistant that translates corporate jargon into plain English."
    body = {
        "messages": [
            {"role": "system", "content": jargon},
            {"role": "system", "name": "example_user", "content": "New synergies will help drive top-line growth."},
            {"role": "system", "name": "example_assistant", "content": "Working well together will increase revenue."},
        ]
    }
    counter = TokenCounter()
    texts = [text for message in body["messages"] for text in message.values()]
    plain = sum([(await counter.count_output(text, "cl100k_base")).tokens for text in texts])
    assert (await counter.count_prompt(a_call(body=body), "cl100k_base")).tokens == plain + 3 * 3 + 2 * 1 + 3


async def test_special_tokens_in_a_users_text_count_as_text():
    assert (await TokenCounter().count_output("<|endoftext|>", "o200k_base")).tokens > 1


async def test_a_lone_surrogate_is_counted_and_harms_nobody():
    assert (await TokenCounter().count_output("a\ud800b", "o200k_base")).tokens >= 2


@pytest.mark.parametrize("text", [" " * 1_000_000, "a" * 1_000_000, "\u3000" * 300_000])
async def test_no_text_holds_up_the_loop_or_kills_the_process(text):
    counter = TokenCounter()
    await counter.count_output("warm", "o200k_base")
    counting = asyncio.create_task(counter.count_output(text, "o200k_base"))
    turns, longest_s, before_s = 0, 0.0, time.perf_counter()
    while not counting.done():
        await asyncio.sleep(0)
        now_s = time.perf_counter()
        longest_s, before_s, turns = max(longest_s, now_s - before_s), now_s, turns + 1
    assert 0 < (await counting).tokens <= len(text.encode())
    assert turns > 10, "the loop kept turning meanwhile"
    assert longest_s < 1.0


async def test_beyond_the_sample_the_rest_is_taken_to_be_like_it():
    counter = TokenCounter()
    line = "The half farthing was the smallest coin of its time.\n"
    lines = 3 * SAMPLE_CHARS // len(line)
    exactly = (await counter.count_output(line * 1000, "o200k_base")).tokens
    counted = await counter.count_output(line * lines, "o200k_base")
    assert counted.tokens == pytest.approx(exactly * lines / 1000, rel=0.01)
    assert counted.chars == len(line) * lines
    many = {"messages": [{"role": "user", "content": line * 100}] * (lines // 100)}
    prompt = await counter.count_prompt(a_call(body=many), "o200k_base")
    assert prompt.tokens == pytest.approx(exactly * lines / 1000, rel=0.01)


@pytest.mark.parametrize("kind", ["image_url", "input_image", "image"])
def test_a_picture_is_counted_in_whatever_words_it_comes(kind: str):
    picture = {"type": kind, kind: {"url": "https://example.com/a.png"}}
    assert structure_of({"messages": [{"role": "user", "content": [picture]}]}).images == PER_IMAGE
