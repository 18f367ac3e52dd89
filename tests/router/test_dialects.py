"""What each wire format, and each endpoint, has words for."""

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
