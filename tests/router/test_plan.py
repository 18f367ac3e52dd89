"""Plans: in the route's order, only what may be asked, each with a bound; and why, if nothing may."""

from typing import Any

import msgspec
import pytest

from ledger.prices import FREE
from ledger.prices.price import Price
from router.bounds import input_bound_tokens
from router.call import Call
from router.clamp import clamped
from router.deployments import Deployment, Provider, Route
from router.errors import Inexpressible, MaxCostExceeded, NoDeploymentAvailable, UnboundedCost, UnpricedModel
from router.lessons import Lesson
from router.plan import Candidate, mended, plan
from tests.router.gateways import PRICE, READ_NANOUSD, WRITTEN_NANOUSD, a_call, a_deployment

URL = "http://127.0.0.1:1/v1"


def planned(
    call: Call, *targets: Deployment, limited: tuple[str, ...] = (), returns_in_s: dict[str, float] | None = None
) -> tuple[Candidate, ...]:
    return plan(
        call,
        Route(name="chat", targets=targets),
        limited_units=lambda deployment_id: {"usd"} if deployment_id in limited else (),
        returns_in_s=returns_in_s or {},
    )


def names(candidates: tuple[Candidate, ...]) -> str:
    return "".join(candidate.deployment.provider.name for candidate in candidates)


def three() -> tuple[Deployment, ...]:
    return tuple(a_deployment(name, URL) for name in "abc")


def test_deployments_are_tried_in_the_routes_order_with_what_each_could_cost_at_most():
    call = a_call()
    candidates = planned(call, *three())
    bound_nanousd = input_bound_tokens(call.body, None) * READ_NANOUSD + 50 * WRITTEN_NANOUSD
    assert names(candidates) == "abc"
    assert {candidate.held_nanousd for candidate in candidates} == {bound_nanousd}
    assert (candidates[0].bid.deployment, candidates[0].bid.price_version) == ("a:model-a", PRICE.version)


def test_unpriced_deployments_are_left_out_and_named_if_there_is_no_other():
    unpriced = a_deployment("u", URL, price=None)
    assert names(planned(a_call(), unpriced, *three())) == "abc"
    with pytest.raises(UnpricedModel) as raised:
        planned(a_call(), unpriced)
    assert raised.value.deployments == ("u:model-u",)


def test_open_breakers_are_left_out_and_the_earliest_return_is_told_if_all_are_open():
    away = {"a:model-a": 9.0, "b:model-b": 3.5, "c:model-c": 0.0}
    assert names(planned(a_call(), *three(), returns_in_s=away)) == "c"
    with pytest.raises(NoDeploymentAvailable) as raised:
        planned(a_call(), *three(), returns_in_s={**away, "c:model-c": 7.0})
    assert raised.value.retry_after_s == 3.5


def test_a_deployment_that_could_cost_more_than_the_caller_allows_is_left_out():
    dear = a_deployment("d", URL, price=Price(version="dear", base=PRICE.base, per_request_nanousd=1))
    limit = planned(a_call(), *three())[0].held_nanousd
    assert names(planned(a_call(max_cost_nanousd=limit), dear, *three())) == "abc"
    with pytest.raises(MaxCostExceeded) as raised:
        planned(a_call(max_cost_nanousd=limit - 1), dear, *three())
    assert (raised.value.limit_nanousd, raised.value.asked_nanousd) == (limit - 1, limit)


def test_what_no_hold_can_bound_is_refused_only_where_some_limit_applies():
    call = a_call(body={"web_search_options": {}})
    assert names(planned(call, *three())) == "abc"
    assert names(planned(call, *three(), limited=("a:model-a",))) == "bc"
    with pytest.raises(UnboundedCost) as raised:
        planned(call, *three(), limited=("a:model-a", "b:model-b", "c:model-c"))
    assert raised.value.field == "web_search_options"
    with pytest.raises(UnboundedCost):
        planned(a_call(body={"web_search_options": {}}, max_cost_nanousd=10**15), *three())


def test_an_answer_of_no_known_length_is_unbounded_where_a_limit_applies():
    call = a_call(body={"max_tokens": None})
    assert names(planned(call, *three())) == "abc"
    with pytest.raises(UnboundedCost) as raised:
        planned(call, *three(), limited=("a:model-a", "b:model-b", "c:model-c"))
    assert raised.value.field == "max_tokens"


def test_a_free_deployment_holds_nothing_whatever_is_asked_of_it():
    free = a_deployment("f", URL, price=FREE)
    candidates = planned(a_call(body={"web_search_options": {}}, max_cost_nanousd=0), free, *three())
    assert [(names(candidates), candidate.held_nanousd) for candidate in candidates] == [("f", 0)]


def test_what_the_caller_can_mend_is_told_before_what_it_can_only_wait_for():
    away = dict.fromkeys(("a:model-a", "b:model-b", "c:model-c"), 5.0)
    with pytest.raises(MaxCostExceeded):
        planned(a_call(max_cost_nanousd=1), *three(), returns_in_s=away)


def test_a_parameter_the_deployment_does_not_take_is_left_out_and_named():
    plain = Deployment(
        provider=a_deployment("a", URL).provider, model="m", price=PRICE, encoding="cl100k_base", supports=frozenset()
    )
    call = a_call(body={"temperature": 0.5, "unknown_field": 1})
    dropping, taking = planned(call, plain, a_deployment("b", URL))
    assert dropping.dropped_params == ("temperature",)
    assert "temperature" not in dropping.body
    assert dropping.body["unknown_field"] == 1
    assert (taking.dropped_params, taking.body) == ((), call.body)


def claude(**fields: Any) -> Deployment:
    provider = Provider(name="c", dialect="anthropic", base_url=URL)
    return Deployment(provider=provider, model="claude-sonnet-4-5", price=PRICE, encoding="o200k_base", **fields)


def test_what_a_wire_format_must_have_is_filled_in_and_held_for():
    call = a_call(body={"max_tokens": None})
    for deployment, limit in ((claude(), 4096), (claude(max_output_tokens=70), 70)):
        (candidate,) = planned(call, deployment, limited=("c:claude-sonnet-4-5",))
        bound_nanousd = input_bound_tokens(call.body, None) * READ_NANOUSD + limit * WRITTEN_NANOUSD
        assert (candidate.body["max_tokens"], candidate.held_nanousd) == (limit, bound_nanousd)


def test_what_a_wire_format_has_no_words_for_is_left_out_and_named_after_what_the_model_refuses():
    call = a_call(body={"seed": 1, "temperature": 0.5})
    plain, gated = planned(call, claude(), msgspec.structs.replace(claude(supports=frozenset()), model="claude-x"))
    assert (plain.dropped_params, gated.dropped_params) == (("seed",), ("temperature", "seed"))


def test_messages_that_cannot_be_said_somewhere_go_elsewhere_and_are_refused_if_there_is_nowhere():
    call = a_call(body={"messages": [{"role": "user", "content": [{"type": "input_audio"}]}]})
    assert names(planned(call, claude(), *three())) == "abc"
    with pytest.raises(Inexpressible) as raised:
        planned(call, claude())
    assert raised.value.where == "messages[0].content[0]"
    # What the caller can mend at less cost is told first.
    with pytest.raises(MaxCostExceeded):
        planned(msgspec.structs.replace(call, max_cost_nanousd=1), claude(), *three())


def test_an_answer_made_too_short_for_its_thoughts_goes_without_them_and_says_so():
    (candidate,) = planned(a_call(body={"max_tokens": 4000, "thinking_budget": 2000}), claude())
    shorter = clamped(candidate, candidate.held_nanousd - 2500 * WRITTEN_NANOUSD)
    assert shorter is not None
    assert (shorter.dropped_params, shorter.clamped) == (("thinking_budget",), {"max_tokens": 1500})
    assert "thinking_budget" not in shorter.body


def test_of_two_limits_that_have_one_name_there_the_one_that_is_sent_is_told_as_clamped():
    body = {"messages": [], "max_tokens": 90, "max_completion_tokens": 10}
    candidate = Candidate(
        deployment=a_deployment("a", URL), held_nanousd=9, body={**body, "max_tokens": 50}, clamped={"max_tokens": 50}
    )
    renamed = mended(candidate, Lesson(renamed={"max_tokens": "max_completion_tokens"}))
    assert renamed is not None
    assert (renamed.body, renamed.clamped) == ({"messages": [], "max_completion_tokens": 10}, {})
    assert renamed.allowed_tokens == 10


def test_a_bid_says_in_which_units_it_is_no_bound_and_why():
    free = a_deployment("f", URL, price=FREE)
    searching = planned(a_call(body={"web_search_options": {}}), a_deployment("a", URL), free)
    assert [(it.bid.unbounded_by, it.bid.unbounded_in) for it in searching] == [
        ("web_search_options", ("usd", "tokens")),
        ("web_search_options", ("tokens",)),
    ]
    (bounded,) = planned(a_call(), a_deployment("a", URL))
    assert (bounded.bid.unbounded_by, bounded.bid.unbounded_in) == ("", ())
    renamed = mended(searching[0], Lesson(renamed={"max_tokens": "max_completion_tokens"}))
    assert renamed is not None
    assert renamed.bid.unbounded_by == "web_search_options"
    endless = planned(a_call(body={"max_tokens": None}), a_deployment("a", URL))[0]
    again = mended(endless, Lesson(dropped="temperature"))
    assert again is not None
    assert (endless.bid.unbounded_by, again.bid.unbounded_by) == ("max_tokens", "max_tokens")
