"""Estimates of prompts: near to what a provider says after a few answers, and known to all processes."""

import random
import sqlite3
import statistics
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.token_estimates import Counting, calls, cut_by_words, errors, texts
from ledger.ledger import open_ledger
from router.bounds import input_bound_tokens
from router.breaker import BreakerRule
from router.deployments import Route
from router.errors import UpstreamFailed
from router.health import open_health
from router.memory import Memory
from router.status import RouterStatus
from router.token_estimates import (
    ANSWERS_THAT_COUNT,
    PLAIN,
    REMEMBERED,
    SHARE_EVERY_MS,
    Answered,
    Known,
    TokenEstimates,
    after,
    error_of,
    estimated_tokens,
    weights_of,
    written_tokens,
)
from router.tokens import Prompt, Text, TokenCounter
from tests.router.gateways import READ_NANOUSD, WRITTEN_NANOUSD, Clock, Menu, a_call, a_deployment, open_gateway
from tests.upstream import answer, scripted_upstream, stream

# Some with tools; text of 4 characters a token.
PROMPTS = [
    Prompt(3, Text(40 + 61 * number, 160 + 244 * number), 90 * (number % 3), has_tools=number % 3 > 0)
    for number in range(24)
]


def said(prompt: Prompt, *, per_call: int = 12, text: float = 1.21, schemas: float = 0.8, tools: int = 346) -> int:
    return round(per_call + text * prompt.text.tokens + schemas * prompt.schemas + (tools if prompt.has_tools else 0))


def known_of(*answers: tuple[Prompt, int]) -> Known:
    return after(Known(), [Answered(prompt, prompt.tokens, reported) for prompt, reported in answers])


def test_twenty_answers_teach_a_providers_own_tokens_and_its_tools():
    weights = weights_of(known_of(*((prompt, said(prompt)) for prompt in PROMPTS[:20])))
    for prompt in PROMPTS[20:]:
        assert estimated_tokens(weights, prompt) == pytest.approx(said(prompt), rel=0.01)
    assert written_tokens(weights, Text(1000, 4000)) == pytest.approx(1210, rel=0.02)


def test_before_there_is_enough_to_learn_from_the_plain_count_stands():
    few = known_of(*((prompt, said(prompt)) for prompt in PROMPTS[: ANSWERS_THAT_COUNT - 1]))
    assert weights_of(few) == PLAIN
    assert [estimated_tokens(PLAIN, prompt) for prompt in PROMPTS] == [prompt.tokens for prompt in PROMPTS]
    assert written_tokens(PLAIN, Text(7, 30, 2, 1)) == 7


def test_images_are_estimated_as_what_they_are_taken_for():
    assert estimated_tokens(PLAIN, Prompt(3, Text(40, 160), images=765, is_text=False)) == 3 + 40 + 765


def test_no_tokenizer_is_taken_to_cut_five_times_as_finely():
    of_text = (40.0, 0.0, 0.0, 0.0)
    assert written_tokens((*PLAIN[:3], *of_text), Text(10, 40)) == 50


def test_a_count_that_is_right_stays_as_it_is():
    weights = weights_of(known_of(*((prompt, prompt.tokens) for prompt in PROMPTS)))
    assert [estimated_tokens(weights, prompt) for prompt in PROMPTS] == [prompt.tokens for prompt in PROMPTS]


def test_an_answer_that_is_like_no_other_moves_little():
    answers = [(prompt, said(prompt)) for prompt in PROMPTS[:20]]
    answers[7] = (answers[7][0], answers[7][1] * 40)
    answers[12] = (answers[12][0], 1)
    weights = weights_of(known_of(*answers))
    for prompt in PROMPTS[20:]:
        assert estimated_tokens(weights, prompt) == pytest.approx(said(prompt), rel=0.05)


COUNTS = st.integers(0, 10**6)
TEXTS = st.builds(Text, COUNTS, COUNTS, COUNTS, COUNTS)
ANY_PROMPT = st.builds(Prompt, st.sampled_from([0, 3]), TEXTS, COUNTS, COUNTS, has_tools=st.booleans())


@settings(max_examples=50)
@given(st.lists(st.tuples(ANY_PROMPT, st.integers(1, 10**9)), max_size=2 * REMEMBERED), ANY_PROMPT)
def test_whatever_is_reported_an_estimate_is_a_count(answers: list[tuple[Prompt, int]], prompt: Prompt):
    known = known_of(*answers)
    assert len(known.answers) <= REMEMBERED
    weights = weights_of(known)
    assert estimated_tokens(weights, prompt) >= max(1, prompt.tokens // 5)
    assert written_tokens(weights, prompt.text) >= 0


def test_the_error_is_the_median_of_the_last_calls():
    assert error_of(Known()) is None
    known = after(Known(), [Answered(PROMPTS[0], estimated, 100) for estimated in (100, 90, 130)])
    assert error_of(known) == 0.1


@pytest.mark.parametrize(
    ("counting", "kinds"),
    [
        (
            Counting(
                tokenizer=cut_by_words(6, per_foreign=0.5), per_call=8, per_message=3, per_tools=346, per_schema=1.2
            ),
            ("prose", "prose", "code", "json", "foreign"),
        ),
        (Counting(tokenizer=cut_by_words(8, per_foreign=0.3), per_call=1200, per_message=1), ("code",)),
    ],
)
async def test_after_twenty_calls_the_median_error_is_below_five_percent(counting: Counting, kinds: tuple[str, ...]):
    found = await errors(TokenCounter(), list(calls(random.Random(1), kinds, texts())), counting)
    plain, learned = (statistics.median(side) for side in zip(*found, strict=True))
    assert plain > 0.08, "or there was nothing to learn"
    assert learned < 0.05


def test_what_else_is_in_a_prompt_than_text_teaches_nothing_of_text():
    estimates = TokenEstimates(now_ms=lambda: 0)
    for prompt in PROMPTS:
        estimates.learn("p:m", Prompt(3, prompt.text, is_text=False), estimated=prompt.tokens, reported=5000)
    assert estimates.error("p:m") is None
    assert estimates.estimated_tokens("p:m", PROMPTS[0]) == PROMPTS[0].tokens


async def test_what_one_process_learned_all_know_and_keep(tmp_path: Path):
    clock = Clock()
    async with open_ledger(f"sqlite:{tmp_path / 'l.db'}", clock_ms=clock.now_ms, synchronous="normal") as ledger:
        memories = [Memory(ledger) for _ in range(2)]
        here, there = (TokenEstimates(now_ms=clock.now_ms, memory=memory) for memory in memories)
        for prompt in PROMPTS:
            here.learn("p:m", prompt, estimated=prompt.tokens, reported=said(prompt))
        assert here.error("p:m") is not None
        await here.share()
        there.learn("p:m", PROMPTS[0], estimated=1, reported=said(PROMPTS[0]))
        await memories[1].learn()
        expected = [here.estimated_tokens("p:m", prompt) for prompt in PROMPTS]
        assert [there.estimated_tokens("p:m", prompt) for prompt in PROMPTS] == pytest.approx(expected, rel=0.02)
        assert expected == pytest.approx([said(prompt) for prompt in PROMPTS], rel=0.02)
        assert there.estimated_tokens("p:other", PROMPTS[0]) == PROMPTS[0].tokens
        # A write for each deployment now and then, not one for each call.
        before = ledger_changes(tmp_path)
        for _ in range(10):
            here.learn("p:m", PROMPTS[0], estimated=1, reported=50)
            await here.share()
        assert ledger_changes(tmp_path) == before
        clock.forward_s += SHARE_EVERY_MS / 1000
        await here.share()
        assert ledger_changes(tmp_path) == before + 1


async def test_what_a_process_learned_last_outlives_it(tmp_path: Path):
    clock = Clock()
    now = {"now_s": clock.now_s, "now_ms": clock.now_ms, "process": "one", "routes": tuple}
    async with open_ledger(f"sqlite:{tmp_path / 'l.db'}", clock_ms=clock.now_ms, synchronous="normal") as ledger:
        async with open_health(BreakerRule(), Memory(ledger), **now) as health:
            await health.share()  # The next counts of successes and estimates are not due for seconds.
            health.hints.succeeded("p:m", workflow="", endpoint="")
            health.token_estimates.learn("p:m", PROMPTS[0], estimated=1, reported=50)
        async with open_health(BreakerRule(), Memory(ledger), **now) as health:
            assert (health.token_estimates.error("p:m"), health.hints.get("p:m").successes) == (0.98, 1)


async def test_what_was_told_is_not_told_again_and_the_newest_answers_count():
    estimates = TokenEstimates(now_ms=lambda: 0)
    for reported in (100, 1):
        for _ in range(REMEMBERED):
            estimates.learn("p:m", PROMPTS[0], estimated=1, reported=reported)
        await estimates.share(is_last=True)
    assert estimates.error("p:m") == 0


def ledger_changes(folder: Path) -> int:
    """The newest version of what is remembered."""
    with closing(sqlite3.connect(folder / "l.db")) as db:
        return int(db.execute("SELECT MAX(version) FROM memory").fetchone()[0])


async def test_receipts_and_the_charge_of_what_was_left_are_learned_and_holds_are_not(tmp_path: Path):
    """The provider counts three times what we do, and 100 to each call."""
    counter = TokenCounter()
    async with scripted_upstream() as upstream:
        (only,) = targets = (a_deployment("a", upstream.url),)
        async with open_gateway(tmp_path, targets=targets) as house:
            for number in range(20):
                call = a_call("word " * (10 + 7 * number))
                prompt = await counter.count_prompt(call, only.encoding)
                upstream.plays(answer("fine", prompt_tokens=100 + 3 * prompt.text.tokens))
                finished = await house.ask(call)
            assert finished.receipt.estimated_prompt_tokens == pytest.approx(100 + 3 * prompt.text.tokens, rel=0.05)
            status = RouterStatus(Menu(Route(name="chat", targets=targets)), house.health, house.gates).status()
            error = status["deployments"][0]["token_estimate_error"]
            assert error == house.health.token_estimates.error(only.id) > 0
            upstream.plays(stream(["some words ", "of an answer"], then="cut"))
            call = a_call("word " * 100, stream=True)
            prompt = await counter.count_prompt(call, only.encoding)
            with pytest.raises(UpstreamFailed):
                await house.ask(call)
            (hold,) = house.holds(call.generation_id)
            assert hold["cost_basis"] == "estimated"
            # "some words of an answer" are five tokens here.
            read = (hold["cost_nanousd"] - 3 * 5 * WRITTEN_NANOUSD) / READ_NANOUSD
            assert read == pytest.approx(100 + 3 * prompt.text.tokens, rel=0.15)
            bound_nanousd = input_bound_tokens(call.body, None) * READ_NANOUSD + 50 * WRITTEN_NANOUSD
            assert hold["held_nanousd"] == bound_nanousd
