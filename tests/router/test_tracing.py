"""What a call's spans are made from."""

from pathlib import Path
from typing import Any

import pytest

from router.reply import Reply
from telemetry import ChatFacts
from tests.router.gateways import a_call, closed_at_the_end, open_gateway
from tests.router.test_hints import NO_TEMPERATURE, ONLY_RESPONSES, RESPONSE, USE_COMPLETION
from tests.scripts import json_response
from tests.upstream import scripted_upstream, status


async def told(reply: Reply) -> ChatFacts:
    """What is told of the call, once it is over."""
    async with closed_at_the_end(reply):
        await reply.finished()
    return reply.chat_facts()


@pytest.mark.parametrize(
    ("message", "given", "hints"),
    [
        (NO_TEMPERATURE, {"max_tokens": 50, "temperature": 0.2}, ("drop temperature",)),
        (USE_COMPLETION, {"max_tokens": 50}, ("rename max_tokens to max_completion_tokens",)),
        (ONLY_RESPONSES, {}, ("endpoint v1/responses",)),
    ],
)
async def test_an_attempt_says_which_hints_made_a_difference_to_it(
    tmp_path: Path, message: str, given: dict[str, Any], hints: tuple[str, ...]
):
    async with scripted_upstream() as upstream, open_gateway(tmp_path, upstream) as house:
        upstream.plays(status(400, {"error": {"message": message, "type": "invalid_request_error"}}))
        if message == ONLY_RESPONSES:
            upstream.default = json_response(RESPONSE)
        taught = await told(await house.gateway.generate(a_call(body=given)))
        assert [attempt.hints for attempt in taught.attempts] == [(), hints]
        assert (taught.attempts[0].counts_for_breaker, taught.attempts[0].status) == (False, 400)
        heeded = await told(await house.gateway.generate(a_call("another", body=given)))
        assert [attempt.hints for attempt in heeded.attempts] == [hints]
        if message == NO_TEMPERATURE:
            unconcerned = await told(await house.gateway.generate(a_call("a third")))
            assert unconcerned.attempts[0].hints == ()
