"""Embeddings ride the same road as chat: holds, failover, cache, flights, and their own bounds and counts."""

import asyncio
from typing import Any

import msgspec
import pytest

from ledger.ceilings import Ceiling
from ledger.errors import CeilingExceeded
from ledger.usage import Usage
from router.assemble import replay
from router.bounds import PER_CALL, PER_INPUT, embedded_bound_tokens
from router.call import Call
from router.deployments import Deployment, HedgeRule, Provider
from router.errors import MaxCostExceeded, UpstreamFailed, UpstreamRejected
from tests.openai_scripts import embedded, responded
from tests.router.gateways import PRICE, READ_NANOUSD, a_call, a_deployment, open_gateway, text_of
from tests.upstream import answer, hang, json_response, scripted_upstream, status

USED = Usage(input_tokens=6)


def an_embedding(given: Any = "a farthing", **wishes: Any) -> Call:
    """An embeddings call for this input."""
    return msgspec.structs.replace(a_call(**wishes), kind="embeddings", body={"input": given})


async def test_a_call_holds_what_it_may_read_and_nothing_for_an_answer(tmp_path):
    async with scripted_upstream() as upstream, open_gateway(tmp_path, upstream) as house:
        upstream.default = embedded()
        call = an_embedding(["a farthing", [1, 2, 3]])
        finished = await house.ask(call)
        assert [choice.vector for choice in finished.answer.choices] == [b"[2.5, -1.0, 1.0]", b"[2.25, -0.0, 1.0]"]
        assert finished.receipt.usage == USED
        (hold,) = house.holds(call.generation_id)
        bound = PER_CALL + 2 * PER_INPUT + len("a farthing") + 3
        assert hold["held_nanousd"] == bound * READ_NANOUSD
        assert hold["cost_nanousd"] == 6 * READ_NANOUSD
        # Texts by the tokenizer, tokens by their number.
        assert finished.receipt.estimated_prompt_tokens == 3 + 3


async def test_a_gemini_provider_embeds_in_its_own_words_and_is_charged_by_our_count_where_it_says_none(tmp_path):
    async with scripted_upstream() as upstream:
        provider = Provider(name="g", dialect="gemini", base_url=upstream.root)
        target = Deployment(provider=provider, model="gemini-embedding-001", price=PRICE, encoding="o200k_base")
        async with open_gateway(tmp_path, targets=(target,)) as house:
            upstream.plays(json_response({"embeddings": [{"values": [0.5, 1]}]}))
            call = an_embedding("a farthing")
            finished = await house.ask(call)
            assert finished.answer.choices[0].vector == b"[0.5, 1]"
            assert upstream.requests[0].path == "/v1beta/models/gemini-embedding-001:batchEmbedContents"
            (hold,) = house.holds(call.generation_id)
            assert (hold["cost_nanousd"], hold["cost_basis"]) == (3 * READ_NANOUSD, "estimated")


async def test_a_failure_moves_it_to_the_next_deployment(tmp_path):
    async with scripted_upstream() as upstream, open_gateway(tmp_path, upstream) as house:
        upstream.plays(status(500), embedded())
        finished = await house.ask(an_embedding())
        assert [report.outcome for report in finished.receipt.attempts] == ["upstream_error", "ok"]
        assert finished.receipt.provider == "b"


async def test_an_equal_call_is_a_hit_and_no_chat_answer_is_ever_a_vector(tmp_path):
    async with scripted_upstream() as upstream, open_gateway(tmp_path, upstream) as house:
        upstream.plays(embedded(), answer("words"))
        first = await house.ask(an_embedding())
        again = await house.ask(an_embedding())
        assert (again.receipt.cache, again.answer) == ("hit", first.answer)
        assert again.receipt.saved_nanousd == 6 * READ_NANOUSD
        # The very same body, as a chat completion.
        chat = await house.ask(msgspec.structs.replace(an_embedding(), kind="chat"))
        assert (chat.receipt.cache, chat.answer.choices[0].text) == ("miss", "words")


async def test_equal_calls_in_flight_share_one(tmp_path):
    async with scripted_upstream() as upstream, open_gateway(tmp_path, upstream) as house:
        upstream.default = embedded()
        answers = await asyncio.gather(*(house.ask(an_embedding(mode="use")) for _ in range(20)))
        assert len(upstream.requests) == 1
        assert len({msgspec.json.encode(finished.answer.choices[0].vector) for finished in answers}) == 1


async def test_what_the_provider_did_not_count_is_counted_here(tmp_path):
    async with scripted_upstream() as upstream, open_gateway(tmp_path, upstream) as house:
        upstream.plays(embedded(tokens=None))
        finished = await house.ask(an_embedding([[1, 2, 3], [4]]))
        assert finished.receipt.usage == Usage(input_tokens=4)
        assert (finished.receipt.cost_basis, finished.receipt.cost_nanousd) == ("estimated", 4 * READ_NANOUSD)


async def test_a_ceiling_that_makes_answers_shorter_refuses_what_has_no_length_to_lose(tmp_path):
    ceiling = Ceiling(scope="global", window="total", limit=80 * READ_NANOUSD, when_tight="clamp")
    async with (
        scripted_upstream() as upstream,
        open_gateway(tmp_path, targets=(_with_a_limit(upstream.url),), ceilings=(ceiling,)) as house,
    ):
        with pytest.raises(CeilingExceeded):
            await house.ask(an_embedding())
        assert upstream.requests == []


def _with_a_limit(url: str) -> Deployment:
    return msgspec.structs.replace(a_deployment("a", url), max_output_tokens=10)


async def test_max_cost_bounds_it(tmp_path):
    async with scripted_upstream() as upstream, open_gateway(tmp_path, upstream) as house:
        bound = (PER_CALL + PER_INPUT + len("a farthing")) * READ_NANOUSD
        with pytest.raises(MaxCostExceeded):
            await house.ask(an_embedding(max_cost_nanousd=bound - 1))
        upstream.plays(embedded())
        await house.ask(an_embedding(max_cost_nanousd=bound))


async def test_a_slow_one_is_hedged_and_the_first_vectors_win(tmp_path):
    rule = HedgeRule(after_s=0.02, stagger_s=1.0, max_ratio=1.0)
    async with scripted_upstream() as upstream, open_gateway(tmp_path, upstream, hedge=rule) as house:
        upstream.plays(hang(), embedded())
        finished = await house.ask(an_embedding())
        assert finished.receipt.provider == "b"
        assert all(delta.is_output for delta in replay(finished.answer))
        assert [request.body for request in upstream.requests] == [
            {"input": "a farthing", "model": f"model-{name}"} for name in ("a", "b")
        ]


MOVED = {"message": "This model is only supported in v1/responses and not in v1/chat/completions.", "code": None}


async def test_no_other_endpoint_is_learned_for_embeddings(tmp_path):
    async with (
        scripted_upstream() as upstream,
        open_gateway(tmp_path, targets=(a_deployment("a", upstream.url),)) as house,
    ):
        refused = status(400, {"error": MOVED})
        upstream.plays(refused, responded("moved"), embedded(), refused)
        assert text_of(await house.ask(a_call())) == "moved"
        await house.ask(an_embedding())
        with pytest.raises((UpstreamRejected, UpstreamFailed)):
            await house.ask(an_embedding("another"))
        paths = ("chat/completions", "responses", "embeddings", "embeddings")
        assert [request.path for request in upstream.requests] == [f"/v1/{path}" for path in paths]


def test_the_window_is_each_inputs_own():
    body = {"input": ["a" * 100, "b", [7] * 100]}
    assert embedded_bound_tokens(body, 40) == PER_CALL + 40 + (PER_INPUT + 1) + 40
    assert embedded_bound_tokens(body, None) == PER_CALL + 3 * PER_INPUT + 201
    assert embedded_bound_tokens({"input": "ü"}, None) == PER_CALL + PER_INPUT + 2
