"""Which spans a finished request makes, and what each says."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from telemetry import AttemptFacts, RequestFacts
from telemetry.spans import Attributes, Span, SpanKind, span_count, spans_of

FactsOf = Callable[..., RequestFacts]
Attempts = tuple[AttemptFacts, AttemptFacts]


def parts(facts: RequestFacts) -> tuple[Span, Span, list[Span]]:
    server, chat, *attempts = spans_of(facts)
    return server, chat, attempts


def test_a_call_that_failed_over_makes_one_tree(facts_of: FactsOf) -> None:
    server, chat, (first, second) = parts(facts_of())
    assert {span.trace_id for span in (server, chat, first, second)} == {facts_of().trace_id}
    assert (server.parent_span_id, server.is_parent_remote) == ("e" * 16, True)
    assert [span.parent_span_id for span in (chat, first, second)] == [server.span_id, chat.span_id, chat.span_id]
    assert not any(span.is_parent_remote for span in (chat, first, second))
    assert [span.kind for span in (server, chat, first)] == [SpanKind.SERVER, SpanKind.INTERNAL, SpanKind.CLIENT]
    assert [span.name for span in (server, chat, first, second)] == [
        "POST /generate",
        "chat gemini-2.5-pro",
        "chat claude-sonnet-4-5",
        "chat gemini-2.5-pro",
    ]
    assert [span.is_error for span in (server, chat, first, second)] == [False, False, True, False]


def test_only_the_chat_span_has_cost_and_tokens(facts_of: FactsOf) -> None:
    server, chat, attempts = parts(facts_of())
    assert chat.attributes == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "gcp.gemini",
        "gen_ai.system": "gcp.gemini",
        "gen_ai.request.model": "gemini-2.5-pro",
        "gen_ai.request.stream": True,
        "gen_ai.request.max_tokens": 100,
        "gen_ai.request.temperature": 0.0,
        "gen_ai.response.model": "gemini-2.5-pro-002",
        "gen_ai.response.finish_reasons": ("stop",),
        "gen_ai.response.time_to_first_chunk": 0.332,
        "gen_ai.usage.input_tokens": 21,
        "gen_ai.usage.output_tokens": 40,
        "gen_ai.usage.cache_read.input_tokens": 8,
        "gen_ai.usage.reasoning.output_tokens": 16,
        "gen_ai.usage.cost": 0.000123,
        "farthing.generation.id": "gen_1",
        "farthing.generation.url": "https://llm.example.com/ledger/generations/gen_1",
        "farthing.route": "chat",
        "farthing.outcome": "ok",
        "farthing.cache": "miss",
        "farthing.cost.nanousd": 123_000,
        "farthing.cost.basis": "priced_usage",
        "farthing.dropped_params": ("seed",),
        "farthing.price.version": "book-7",
        "farthing.breaker.state": "half_open",
        "farthing.breaker.open_count": 1,
        "farthing.key.id": "k1",
        "user.id": "u1",
        "farthing.workflow": "summarise",
        "farthing.run": "r1",
    }
    for span in (server, *attempts):
        assert not any("usage" in name or "cost" in name for name in span.attributes)


def test_attempts_share_the_calls_cost_under_a_name_of_their_own(facts_of: FactsOf) -> None:
    _, chat, attempts = parts(facts_of())
    charged = [span.attributes["farthing.charged.nanousd"] for span in attempts]
    assert charged == [0, 123_000]
    assert chat.attributes["farthing.cost.nanousd"] == 123_000


def test_every_span_of_a_call_says_which_generation_it_is_and_where_to_read_of_it(facts_of: FactsOf) -> None:
    url = "https://llm.example.com/ledger/generations/gen_1"
    for facts in (facts_of(), facts_of(chat_cache="hit", chat_attempts=())):
        for span in spans_of(facts):
            assert (span.attributes["farthing.generation.id"], span.attributes["farthing.generation.url"]) == (
                "gen_1",
                url,
            )


def test_a_refused_call_says_which_ceiling_had_no_room_and_has_no_story_to_read(facts_of: FactsOf) -> None:
    refusal = {"farthing.ceiling.scope": "user:u1", "farthing.ceiling.limit": 5}
    [span] = spans_of(facts_of(chat=None, status=402, error_code="ceiling_exceeded", refusal=refusal))
    assert not span.is_error
    told = {name: span.attributes[name] for name in span.attributes if name.startswith("farthing.")}
    assert told == {**refusal, "farthing.generation.id": "gen_1", "farthing.error.code": "ceiling_exceeded"}


def test_no_name_is_the_beginning_of_another(facts_of: FactsOf) -> None:
    facts = facts_of(chat_cache_write_tokens=1, chat_saved_nanousd=1, chat_answer_of="gen_0", chat_was_paced=True)
    for span in spans_of(facts):
        for name in span.attributes:
            assert not any(other.startswith(f"{name}.") for other in span.attributes), name


def test_kinds_of_tokens_that_most_calls_have_none_of_are_said_where_there_are_any(facts_of: FactsOf) -> None:
    kinds = ("cache_write", "cache_write_1h", "input_audio", "input_image", "output_audio", "output_image")
    counts = {f"chat_{kind}_tokens": count for count, kind in enumerate(kinds, 1)}
    chat = parts(facts_of(**counts))[1]
    usual = parts(facts_of())[1].attributes
    assert {name: value for name, value in chat.attributes.items() if name not in usual} == {
        "gen_ai.usage.cache_write.input_tokens": 1,
        "gen_ai.usage.cache_creation.input_tokens": 1,
        "farthing.usage.cache_write_1h.input_tokens": 2,
        "gen_ai.usage.audio.input_tokens": 3,
        "gen_ai.usage.image.input_tokens": 4,
        "gen_ai.usage.audio.output_tokens": 5,
        "gen_ai.usage.image.output_tokens": 6,
    }


def test_an_attempt_says_whom_it_asked_and_how_it_ended(facts_of: FactsOf) -> None:
    _, _, (first, second) = parts(facts_of())
    assert first.attributes == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "anthropic",
        "gen_ai.system": "anthropic",
        "gen_ai.request.model": "claude-sonnet-4-5",
        "server.address": "api.anthropic.com",
        "server.port": 443,
        "http.response.status_code": 429,
        "error.type": "429",
        "farthing.attempt": 1,
        "farthing.outcome": "rate_limited",
        "farthing.generation.id": "gen_1",
        "farthing.generation.url": "https://llm.example.com/ledger/generations/gen_1",
        "farthing.held.nanousd": 900_000,
        "farthing.charged.nanousd": 0,
        "farthing.charged.basis": "priced_usage",
        "farthing.price.version": "book-7",
        "farthing.ceilings": ("month global", "day key:k1"),
        "farthing.queued_ms": 12.5,
        "farthing.breaker.state": "closed",
        "farthing.breaker.open_count": 2,
    }
    heeded = {name: second.attributes[f"farthing.{name}"] for name in ("endpoint", "dropped_params", "hints")}
    assert heeded == {"endpoint": "v1/responses", "dropped_params": ("seed",), "hints": ("drop seed",)}


@pytest.mark.parametrize(
    ("outcome", "status", "error_type"),
    [
        ("ok", 200, None),
        ("aborted", None, "cancelled"),
        ("aborted", 200, "cancelled"),
        ("stalled", None, "timeout"),
        ("connect_failed", None, "connect_failed"),
        ("upstream_error", 503, "503"),
        ("upstream_error", 200, "upstream_error"),
        ("cut", 200, "cut"),
    ],
)
def test_an_attempts_error_is_named_as_the_conventions_do(
    facts_of: FactsOf, attempts: Attempts, outcome: str, status: int | None, error_type: str | None
) -> None:
    attempt = msgspec.structs.replace(attempts[0], outcome=outcome, status=status)
    span = spans_of(facts_of(chat_attempts=(attempt,)))[-1]
    assert span.attributes.get("error.type") == error_type
    assert span.is_error is (error_type is not None)


def test_a_hedge_links_to_the_attempt_it_hedges(facts_of: FactsOf, attempts: Attempts) -> None:
    first, second = attempts
    hedge = msgspec.structs.replace(second, hedges_span_id=first.span_id)
    *_, slow, span = spans_of(facts_of(chat_attempts=(first, hedge)))
    assert (slow.linked_span_id, span.linked_span_id) == ("", first.span_id)
    assert span.link_attributes == {"farthing.link": "hedge_of"}


def test_what_happened_within_the_call_is_told_as_events(facts_of: FactsOf) -> None:
    server, chat, _ = parts(facts_of())
    assert server.events == ()
    assert [(event.name, event.attributes) for event in chat.events] == [
        ("farthing.admit", {"farthing.duration_ms": 0.5, "farthing.admission": "lead"})
    ]


def test_an_attempt_tells_of_its_first_output_and_what_its_failure_was_taken_for(facts_of: FactsOf) -> None:
    _, _, (failed, answered) = parts(facts_of())
    [classified] = failed.events
    assert (classified.name, classified.at_ns) == ("farthing.classify", failed.ended_at_ns)
    assert classified.attributes == {
        "farthing.outcome": "rate_limited",
        "farthing.counts_for_breaker": False,
        "farthing.tries_next": True,
        "farthing.provider_error.code": "rate_limit_error",
        "farthing.retry_after_ms": 1500,
        "farthing.duration_ms": 80.0,
    }
    [spoke] = answered.events
    assert (spoke.name, spoke.attributes) == ("farthing.first_output", {"farthing.duration_ms": 250.0})


def test_a_hit_is_one_span_without_tokens(facts_of: FactsOf) -> None:
    facts = facts_of(
        chat_cache="hit", chat_attempts=(), chat_cost_nanousd=0, chat_saved_nanousd=5, chat_cost_basis="free"
    )
    [span] = spans_of(facts)
    assert (span.name, span.kind) == ("POST /generate", SpanKind.SERVER)
    told = {name: span.attributes[name] for name in span.attributes if name.startswith("farthing.")}
    assert told == {
        "farthing.generation.id": "gen_1",
        "farthing.route": "chat",
        "farthing.outcome": "ok",
        "farthing.cache": "hit",
        "farthing.cost.nanousd": 0,
        "farthing.cost.basis": "free",
        "farthing.saved.nanousd": 5,
        "farthing.dropped_params": ("seed",),
        "farthing.generation.url": "https://llm.example.com/ledger/generations/gen_1",
        "farthing.key.id": "k1",
        "farthing.workflow": "summarise",
        "farthing.run": "r1",
    }
    assert not any("usage" in name for name in span.attributes)


def test_no_span_says_a_thing_twice(facts_of: FactsOf) -> None:
    hit = {"chat_cache": "hit", "chat_attempts": ()}
    trouble = {"status": 500, "error_code": "internal", "chat_outcome": "cut"}
    refusal = {"farthing.ceiling.scope": "user:u1"}
    for changes in ({}, hit, trouble, {**hit, **trouble}, {"chat": None, "refusal": refusal, **trouble}):
        for span in spans_of(facts_of(**changes)):
            names = [name for said in (*(it.attributes for it in span.groups), span.own) for name in said]
            assert len(names) == len(set(names)), names
            assert span.is_error == ("error.type" in span.attributes)


def test_what_spans_say_alike_is_made_once(facts_of: FactsOf, attempts: Attempts) -> None:
    another = msgspec.structs.replace(attempts[1], span_id="f" * 16, charged_nanousd=7, queued_s=1.0)
    ours, theirs = spans_of(facts_of()), spans_of(facts_of(trace_id="9" * 32, chat_attempts=(attempts[0], another)))
    assert [a.groups[0] is b.groups[0] for a, b in zip(ours, theirs, strict=True)] == [True] * 4
    shaken = msgspec.structs.replace(attempts[1], breaker_open_count=2)
    assert spans_of(facts_of(chat_attempts=(attempts[0], shaken)))[3].attributes["farthing.breaker.open_count"] == 2


def test_a_follower_used_no_tokens(facts_of: FactsOf) -> None:
    _, chat, _ = parts(facts_of(chat_cache="coalesced", chat_attempts=()))
    assert not any("usage" in name for name in chat.attributes)


def test_unknown_tokens_are_left_out_and_zero_is_told(facts_of: FactsOf) -> None:
    _, chat, _ = parts(facts_of(chat_input_tokens=None, chat_output_tokens=0))
    assert "gen_ai.usage.input_tokens" not in chat.attributes
    assert chat.attributes["gen_ai.usage.output_tokens"] == 0


@pytest.mark.parametrize(("outcome", "error_type"), [("aborted", "cancelled"), ("upstream_failed", "upstream_failed")])
def test_a_failed_call_says_why(facts_of: FactsOf, outcome: str, error_type: str) -> None:
    _, chat, _ = parts(facts_of(chat_outcome=outcome))
    assert (chat.attributes["error.type"], chat.is_error) == (error_type, True)


def test_a_cut_answer_finished_by_error(facts_of: FactsOf) -> None:
    _, chat, _ = parts(facts_of(chat_outcome="cut"))
    assert chat.attributes["gen_ai.response.finish_reasons"] == ("error",)


@pytest.mark.parametrize(
    ("status", "code", "error_type"),
    [
        (200, "", None),
        (402, "ceiling_exceeded", None),
        (404, "", None),
        (499, "caller_gone", None),
        (200, "caller_gone", None),
        (502, "upstream_failed", "upstream_failed"),
        (500, "", "500"),
        (200, "upstream_failed", "upstream_failed"),
        (0, "", "_OTHER"),
    ],
)
def test_the_servers_failures_are_its_own_only(
    facts_of: FactsOf, status: int, code: str, error_type: str | None
) -> None:
    [span] = spans_of(facts_of(status=status, error_code=code, chat=None))
    assert span.attributes.get("error.type") == error_type
    assert span.is_error is (error_type is not None)
    assert span.attributes.get("farthing.error.code", "") == code


@pytest.mark.parametrize(
    ("method", "route", "name"),
    [("GET", "/ledger/spend", "GET /ledger/spend"), ("GET", "", "GET"), ("BREW", "/x", "HTTP /x")],
)
def test_span_names_have_few_values(facts_of: FactsOf, method: str, route: str, name: str) -> None:
    [span] = spans_of(facts_of(method=method, route=route, path="/x", chat=None))
    assert span.name == name
    assert span.attributes.get("http.request.method_original") == (method if method == "BREW" else None)


@pytest.mark.parametrize(
    ("request_", "told"),
    [
        ({"temperature": 1}, {"gen_ai.request.temperature": 1.0}),
        ({"max_completion_tokens": 7}, {"gen_ai.request.max_tokens": 7}),
        ({"n": 1}, {}),
        ({"n": 2}, {"gen_ai.request.choice.count": 2}),
        ({"reasoning_effort": "low"}, {"gen_ai.request.reasoning.level": "low"}),
        ({"temperature": "hot", "seed": True, "top_p": 10**400, "max_tokens": 2**63}, {}),
        ({"prompt": "never"}, {}),
    ],
)
def test_parameters_are_told_only_as_the_conventions_have_them(
    facts_of: FactsOf, request_: dict[str, Any], told: Attributes
) -> None:
    _, chat, _ = parts(facts_of(chat_request=request_, chat_stream=False))
    assert {name: value for name, value in chat.attributes.items() if name.startswith("gen_ai.request.")} == {
        "gen_ai.request.model": "gemini-2.5-pro",
        **told,
    }


def test_a_provider_of_the_operators_own_keeps_its_name(facts_of: FactsOf) -> None:
    _, chat, _ = parts(facts_of(chat_provider="primary"))
    assert chat.attributes["gen_ai.provider.name"] == "primary"


@pytest.mark.parametrize("changes", [{}, {"chat": None}, {"chat_cache": "hit"}, {"chat_attempts": ()}])
def test_spans_are_counted_without_being_made(facts_of: FactsOf, changes: dict[str, Any]) -> None:
    facts = facts_of(**changes)
    assert span_count(facts) == len(spans_of(facts))
