"""Bodies are read within bounds of length, time and memory."""

import tracemalloc

import pytest

from service.refusals import BodyTooLarge
from service.requests import CallerGone, read_json_body

MEGABYTE = 1_000_000
JSON = {b"content-type": b"application/json"}


def sending(*parts, then="end"):
    """A client that sends these parts, made one at a time, and then ends the body or leaves."""
    left = list(parts)

    async def receive():
        if left:
            size = left.pop(0)
            return {"type": "http.request", "body": bytes(size), "more_body": bool(left) or then == "leave"}
        return {"type": "http.disconnect"}

    return receive


async def test_parts_are_put_together():
    body = await read_json_body(JSON, sending(2, 3), max_bytes=5, timeout_s=5)
    assert body == bytes(5)


@pytest.mark.parametrize("headers", [JSON, {**JSON, b"content-length": b"60000000"}])
async def test_of_a_body_that_is_too_large_no_more_than_the_limit_is_kept(headers):
    receive = sending(*[MEGABYTE] * 60)
    tracemalloc.start()
    try:
        with pytest.raises(BodyTooLarge):
            await read_json_body(headers, receive, max_bytes=4 * MEGABYTE, timeout_s=20)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 8 * MEGABYTE


async def test_a_declared_length_is_refused_before_anything_is_kept():
    headers = {**JSON, b"content-length": b"6"}
    with pytest.raises(BodyTooLarge):
        await read_json_body(headers, sending(1), max_bytes=5, timeout_s=5)


async def test_a_client_that_leaves_within_its_body_is_gone():
    with pytest.raises(CallerGone):
        await read_json_body(JSON, sending(2, then="leave"), max_bytes=5, timeout_s=5)
