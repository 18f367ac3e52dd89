"""What is told of traces that are not sampled."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from telemetry import AttemptFacts, RequestFacts
from telemetry.sampling import kept_for

FactsOf = Callable[..., RequestFacts]
Attempts = tuple[AttemptFacts, AttemptFacts]


def test_a_call_that_went_as_usual_is_kept_for_nothing(facts_of: FactsOf, attempts: Attempts) -> None:
    assert kept_for(facts_of(chat_attempts=attempts[1:])) == ""
    assert kept_for(facts_of(chat_attempts=(), chat_cache="hit")) == ""
    assert kept_for(facts_of(chat=None, generation_id="")) == ""
    whole = msgspec.structs.replace(attempts[1], charged_nanousd=attempts[1].held_nanousd)
    assert kept_for(facts_of(chat_attempts=(whole,))) == "", "what cost its whole hold, or nothing at all"


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"chat": None, "generation_id": "", "status": 500}, "error"),
        ({"chat": None, "generation_id": "", "status": 0}, "error"),
        ({"chat": None, "status": 402, "error_code": "ceiling_exceeded"}, "refusal"),
        ({"chat": None, "generation_id": "", "status": 401, "error_code": "unauthenticated"}, ""),
        ({"chat_outcome": "cut"}, "error"),
        ({"chat_outcome": "aborted", "error_code": "caller_gone"}, "error"),
        ({}, "error"),  # Its first attempt failed.
    ],
)
def test_errors_and_refusals_are_kept(facts_of: FactsOf, changes: dict[str, Any], why: str) -> None:
    assert kept_for(facts_of(**changes)) == why


@pytest.mark.parametrize(
    ("changes", "why"),
    [({"hedges_span_id": "a" * 16}, "hedge"), ({"charged_nanousd": 500_001}, "overrun"), ({"outcome": "cut"}, "error")],
)
def test_an_attempt_worth_having_keeps_its_call(
    facts_of: FactsOf, attempts: Attempts, changes: dict[str, Any], why: str
) -> None:
    attempt = msgspec.structs.replace(attempts[1], **changes)
    assert kept_for(facts_of(chat_attempts=(attempt,))) == why
