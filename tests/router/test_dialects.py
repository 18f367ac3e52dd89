"""What each wire format, and each endpoint, has words for."""

import pytest

from router.dialects import fitted
from tests.router.gateways import a_deployment

BODY = {"messages": [{"role": "user", "content": "hi"}], "stop": "x", "n": 2}


def test_openais_own_endpoint_takes_a_call_as_it_is_and_responses_says_what_it_leaves_out() -> None:
    deployment = a_deployment("a", "http://a/v1")
    assert fitted(BODY, deployment) == (BODY, ())
    said, dropped = fitted(BODY, deployment, "v1/responses")
    # Without `n`: the hold is for the one answer that will come.
    assert said == {"messages": BODY["messages"]}
    assert dropped == ("n", "stop")


@pytest.mark.parametrize(
    ("base_url", "lost"),
    [
        ("https://api.mistral.ai/v1", ("messages.thinking_blocks", "messages.thought_signatures")),
        ("https://x.openai.azure.com/openai/v1", ("messages.thinking_blocks", "messages.thought_signatures")),
        ("https://gateway.example.com/v1", ()),
    ],
)
def test_what_other_vendors_say_of_their_thoughts_is_kept_from_those_who_refuse_it(base_url, lost) -> None:
    answered = {"role": "assistant", "content": "Hi", "refusal": None}
    signed = {**answered, "thinking_blocks": [{"signature": "s"}], "thought_signatures": [{"signature": "t"}]}
    body = {"messages": [*BODY["messages"], signed, "no message"]}
    said, dropped = fitted(body, a_deployment("a", base_url))
    assert dropped == lost
    assert said == ({"messages": [*BODY["messages"], answered, "no message"]} if lost else body)
