"""When providers ask to be asked again, in every form that they say it in."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.ratelimit import WAIT_CAP_S, retry_after_s, wait_after_refusal_s, wait_after_success_s

NOW_MS = 1_700_000_000_000

RETRIES = [
    ({"retry-after": "7"}, 7.0),
    ({"retry-after": " 1.5 "}, 1.5),
    ({"retry-after": "0"}, 0.0),
    ({"retry-after": "-5"}, 0.0),
    ({"retry-after": "1000000000"}, WAIT_CAP_S),
    ({"retry-after": "9" * 400}, None),
    ({"retry-after": "soon"}, None),
    ({"retry-after": "inf"}, None),
    ({"retry-after": "nan"}, None),
    ({"retry-after": ""}, None),
    ({"retry-after": "Tue, 14 Nov 2023 22:13:50 GMT"}, 30.0),
    ({"retry-after": "Tue, 14 Nov 2023 22:00:00 GMT"}, 0.0),
    ({"retry-after": "Tue, 14 Nov 2099 22:00:00 GMT"}, WAIT_CAP_S),
    ({"retry-after-ms": "250", "retry-after": "9"}, 0.25),
    ({"retry-after-ms": "x", "retry-after": "9"}, 9.0),
    ({}, None),
]


@pytest.mark.parametrize(("headers", "expected_s"), RETRIES)
def test_retry_after_is_read_in_every_form_and_bounded(headers: dict[str, str], expected_s: float | None) -> None:
    assert retry_after_s(headers, now_ms=NOW_MS) == expected_s


def google(delay: object) -> dict[str, object]:
    details = [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": delay}]
    return {"error": {"code": 429, "message": "slow down", "details": details}}


def openai(**limits: str) -> dict[str, str]:
    return {f"x-ratelimit-{name.replace('_', '-')}": value for name, value in limits.items()}


def anthropic(**limits: str) -> dict[str, str]:
    return {f"anthropic-ratelimit-{name.replace('_', '-')}": value for name, value in limits.items()}


REFUSALS = [
    ({"retry-after": "7"}, google("34s"), 7.0),
    ({}, google("34s"), 34.0),
    ({}, google("1.5s"), 1.5),
    ({}, google("soon"), None),
    ({}, google(None), None),
    ({}, {"error": {"details": "none"}}, None),
    ({}, None, None),
    (openai(reset_requests="6m0s", remaining_requests="0"), None, 360.0),
    (openai(reset_requests="20ms", remaining_requests="0"), None, 0.02),
    (openai(reset_requests="1h2m3.5s", remaining_requests="0"), None, 3600.0),
    (openai(reset_tokens="2m59.56s"), None, 179.56),
    # Both are spent: it will refuse until both are back.
    (openai(reset_requests="2s", remaining_requests="0", reset_tokens="9s", remaining_tokens="0"), None, 9.0),
    (openai(reset_requests="1s", remaining_requests="9", reset_tokens="30s", remaining_tokens="0"), None, 30.0),
    (openai(reset_requests="10s", reset_tokens="5s"), None, 5.0),
    (openai(reset="1700000012"), None, 12.0),
    (openai(reset="1700000012500"), None, 12.5),
    (openai(reset="12"), None, 12.0),
    (openai(reset="1600000000"), None, 0.0),
    (openai(reset_requests="whenever"), None, None),
    (openai(reset_requests=""), None, None),
    (anthropic(requests_reset="2023-11-14T22:13:50Z", requests_remaining="0"), None, 30.0),
    (anthropic(input_tokens_reset="2023-11-14T22:13:25+00:00", input_tokens_remaining="0"), None, 5.0),
    (anthropic(tokens_reset="2023-11-14T22:13:25"), None, None),
    ({"X-RateLimit-Reset-Requests": "3s"}, None, 3.0),
]


@pytest.mark.parametrize(("headers", "body", "expected_s"), REFUSALS)
def test_a_refusals_wait_is_read_in_every_vendors_form(headers, body, expected_s) -> None:
    found = wait_after_refusal_s(headers, body, now_ms=NOW_MS)
    assert found == (None if expected_s is None else pytest.approx(expected_s))


def test_a_success_asks_for_a_wait_only_where_nothing_is_left() -> None:
    assert wait_after_success_s(openai(reset_requests="5s", remaining_requests="1"), now_ms=NOW_MS) is None
    assert wait_after_success_s(openai(reset_requests="5s", remaining_requests="0"), now_ms=NOW_MS) == 5.0
    assert wait_after_success_s(openai(reset_requests="5s"), now_ms=NOW_MS) is None
    assert wait_after_success_s({"retry-after": "9"}, now_ms=NOW_MS) is None


@given(
    st.dictionaries(
        st.sampled_from(
            ["retry-after", "retry-after-ms", *openai(reset="", reset_tokens="", remaining_tokens=""), "x-ratelimit-x"]
        ),
        st.text(max_size=30),
    )
)
def test_no_header_makes_it_wait_longer_than_the_cap_or_raises(headers) -> None:
    for found in (wait_after_refusal_s(headers, None, now_ms=NOW_MS), wait_after_success_s(headers, now_ms=NOW_MS)):
        assert found is None or 0 <= found <= WAIT_CAP_S
