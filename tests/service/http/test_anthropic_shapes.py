"""What is refused on Anthropic's paths is told in Anthropic's shape, whoever refuses it."""

import pytest

from ledger.errors import CeilingExceeded, CeilingHeld
from router.errors import Overloaded, UpstreamRejected
from service.anthropic.errors import error_body
from service.errors import problem_of
from tests.service.http.scripted import an_edge
from tests.service.http.test_generation import TIGHT

JSON = {"content-type": "application/json"}
CALL = {"model": "chat", "messages": [{"role": "user", "content": "hello"}]}

REFUSED = [
    ("GET", "/v1/messages", b"", {}, 405, "invalid_request_error"),
    ("POST", "/v1/messages/nowhere", b"{}", JSON, 404, "not_found_error"),
    ("POST", "/v1/messages", b"x" * 300, JSON, 413, "request_too_large"),
    ("POST", "/v1/messages", b"{}", {"content-type": "text/plain"}, 415, "invalid_request_error"),
    ("POST", "/v1/messages", b"{}", JSON, 400, "invalid_request_error"),
    ("POST", "/v1/messages", b'{"model":"m","messages":[]}', JSON, 400, "invalid_request_error"),
    ("POST", "/v1/messages", b'{"model":"m","messages":[{"role":"user"}]}', JSON, 400, "invalid_request_error"),
    ("POST", "/v1/messages/count_tokens", b'{"messages":[{"role":"user"}]}', JSON, 400, "invalid_request_error"),
    ("POST", "/v1/messages", b"{}", {**JSON, "x-api-key": "fk_x"}, 401, "authentication_error"),
    ("POST", "/v1/messages", b"{}", {**JSON, "origin": "http://elsewhere"}, 403, "permission_error"),
    ("GET", "/v1/nowhere", b"", {"anthropic-version": "2023-06-01"}, 404, "not_found_error"),
    # OpenAI's own paths speak OpenAI's language, whatever headers are forwarded.
    ("POST", "/v1/chat/completions", b"{}", {**JSON, "anthropic-version": "2023-06-01"}, 400, None),
]  # fmt: skip


async def test_every_refusal_has_the_shape_that_the_sdk_reads():
    async with an_edge(max_body_bytes=200) as (_, client):
        for method, path, body, headers, code, kind in REFUSED:
            answer = await client.request(method, path, content=body, headers=headers)
            said = answer.json()
            assert (answer.status_code, said.get("type")) == (code, kind and "error"), path
            assert kind in (None, said["error"]["type"])
            assert said["error"]["message"]
            assert said["error"]["code"]


@pytest.mark.parametrize(
    ("error", "status", "kind"),
    [
        (CeilingExceeded(TIGHT), 402, "billing_error"),
        (CeilingHeld(TIGHT), 429, "rate_limit_error"),
        (Overloaded(), 503, "overloaded_error"),
        (RuntimeError("a secret"), 500, "api_error"),
    ],
)
def test_each_status_has_its_type(error: Exception, status: int, kind: str):
    problem = problem_of(error, 0)
    said = error_body(problem)["error"]
    assert (problem.status, said["type"], said["code"]) == (status, kind, problem.code)
    assert "a secret" not in str(said)


@pytest.mark.parametrize(
    ("body", "kind", "message"),
    [
        ({"type": "error", "error": {"type": "permission_error", "message": "Not you"}}, "permission_error", "Not you"),
        ({"error": {"type": "server_error", "message": "Not you", "code": "odd"}}, "invalid_request_error", "Not you"),
        (None, "invalid_request_error", "no"),
    ],
)
def test_a_providers_own_error_keeps_its_words(body, kind: str, message: str):
    said = error_body(problem_of(UpstreamRejected(400, "no", body, ()), 0))["error"]
    assert (said["type"], said["message"], said["code"]) == (kind, message, "upstream_rejected")
