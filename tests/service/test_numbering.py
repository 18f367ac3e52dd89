"""What a stream brings beside its words: the `openai` package adds it up, and loses and doubles nothing."""

import random
from copy import deepcopy
from typing import Any

import pytest
from openai.lib.streaming._deltas import accumulate_delta

from router.answer import Delta
from service.numbering import Numbering

PIECES = 8


def a_list(draw: random.Random) -> list[Any]:
    return [{"said": draw.random(), "inner": [{"a": 1}]} for _ in range(draw.randrange(4))]


def an_extra(draw: random.Random) -> dict[str, Any]:
    """Any of some fields, each always of its own shape, as a provider's are."""
    found: dict[str, Any] = {
        "citations": a_list(draw),
        "grounding": {"chunks": a_list(draw), "queries": ["q"] * draw.randrange(3), "deeper": {"parts": a_list(draw)}},
        "texts": [str(draw.random())],
        "numbers": [draw.random(), 1],
    }
    return {name: value for name, value in found.items() if draw.random() < 0.6}


def grown(before: Any, after: Any) -> Any:
    """The oracle: lists one after the other, at any depth."""
    if isinstance(before, dict):
        return {
            name: grown(before[name], after[name]) if name in before and name in after else {**before, **after}[name]
            for name in {**before, **after}
        }
    return [*before, *after]


def unnumbered(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: unnumbered(inner) for name, inner in value.items() if name != "index"}
    return [unnumbered(entry) for entry in value] if isinstance(value, list) else value


@pytest.mark.parametrize("seed", range(100))
def test_lists_of_any_shape_add_up_by_choice_to_what_was_said(seed: int):
    draw = random.Random(seed)
    numbering = Numbering()
    summed: dict[int, Any] = {0: {}, 1: {}}
    said: dict[int, Any] = {0: {}, 1: {}}
    for step, choice in enumerate((*(draw.randrange(2) for _ in range(PIECES)), 0, 1)):
        extra = an_extra(draw)
        delta = Delta(choice=choice, extra=extra, finish_reason="stop" if step >= PIECES else None)
        numbered = numbering.numbered(delta)
        assert delta.extra == extra
        assert unnumbered(numbered) == extra
        summed[choice] = accumulate_delta(summed[choice], deepcopy(numbered))
        said[choice] = grown(said[choice], extra)
    assert unnumbered(summed) == said


def test_a_list_that_comes_but_once_with_the_end_stays_as_it_came():
    numbering = Numbering()
    extra = {"images": [{"url": "a"}], "thoughts": [{"b": 1}]}
    assert numbering.numbered(Delta(extra={"thoughts": [{"a": 1}]})) == {"thoughts": [{"a": 1, "index": 0}]}
    assert numbering.numbered(Delta(extra=extra, finish_reason="stop")) == {
        "images": [{"url": "a"}],
        "thoughts": [{"b": 1, "index": 1}],
    }


def test_a_provider_s_own_numbers_and_what_is_no_list_of_objects_stay_as_they_are():
    extra = {"images": [{"index": 7}], "mixed": [{"a": 1}, None], "empty": [], "text": "t", "none": None}
    assert Numbering().numbered(Delta(extra=extra)) == extra


def test_depth_has_an_end():
    extra: dict[str, Any] = {}
    deepest = extra
    for _ in range(5000):
        deepest["deeper"] = deepest = {}
    assert Numbering().numbered(Delta(extra=extra))["deeper"]["deeper"]
