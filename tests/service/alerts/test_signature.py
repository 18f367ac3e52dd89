"""What is signed here, the reference library of Standard Webhooks verifies."""

import base64
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook, WebhookVerificationError

from service.alerts.signature import key_of, signed, unsigned

SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()


@given(key=st.binary(min_size=1, max_size=64), text=st.text(max_size=200), is_padded=st.booleans())
def test_every_body_verifies_under_every_secret(key: bytes, text: str, *, is_padded: bool) -> None:
    body = text.encode("utf-8", "replace")
    encoded = base64.b64encode(key).decode()
    for secret in (f"whsec_{encoded}", encoded if is_padded else encoded.rstrip("=")):
        headers = signed("evt_1", body, key_of(secret), at_s=int(time.time()))
        Webhook(secret).verify(body, headers, json_parse=False)


@pytest.mark.parametrize("change", ["id", "timestamp", "body", "secret"])
def test_one_change_anywhere_and_it_does_not_verify(change: str) -> None:
    body, secret = b'{"type":"test"}', SECRET
    headers = signed("evt_1", body, key_of(secret), at_s=int(time.time()))
    match change:
        case "id":
            headers["webhook-id"] = "evt_2"
        case "timestamp":
            headers["webhook-timestamp"] = str(int(time.time()) - 1)
        case "body":
            body += b" "
        case "secret":
            secret = "whsec_" + base64.b64encode(bytes(32)).decode()
    with pytest.raises(WebhookVerificationError):
        Webhook(secret).verify(body, headers)


def test_a_text_that_the_library_cannot_read_is_the_key_itself() -> None:
    for text in ("abcde", "péage"):
        with pytest.raises(ValueError):  # noqa: PT011  # binascii's own, in many words.
            Webhook(text)
        assert key_of(text) == text.encode()


def test_without_a_key_a_message_still_says_which_it_is() -> None:
    assert unsigned("evt_1", at_s=5) == {"webhook-id": "evt_1", "webhook-timestamp": "5"}
