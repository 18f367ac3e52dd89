"""Sends one message to one target, once, and says what came of it."""

import asyncio
from collections.abc import Awaitable, Callable
from importlib.metadata import version
from typing import Final

from router.faults import Fault, Outcome
from router.providers.post import Post
from service.alerts.answers import Answer, answer_of, no_answer
from service.alerts.message import Message, body_of, text_of, title_of
from service.alerts.notifier import notify
from service.alerts.signature import signed, unsigned
from service.alerts.targets import Target

# Of one try, from connecting to the answer's status. Standard Webhooks recommends 15 s to 30 s.
TIMEOUT_S: Final = 15.0
_WORDS: Final = {
    Outcome.CONNECT_FAILED: "no connection",
    Outcome.CUT: "the connection broke off before an answer",
}

Send = Callable[[Target, Message], Awaitable[Answer]]


def sending_by(post: Post, *, now_ms: Callable[[], int], timeout_s: float = TIMEOUT_S) -> Send:
    """A way to send. It never raises for what a target does, and takes no longer than timeout_s."""
    headers = {"content-type": "application/json", "user-agent": f"farthing/{version('farthing')}"}

    async def send(target: Target, message: Message) -> Answer:
        try:
            async with asyncio.timeout(timeout_s):
                if target.kind == "webhook":
                    return await _post(post, headers, target, message, at_s=now_ms() // 1000)
                was_told = await notify(target.url, title_of(message), text_of(message))
        except TimeoutError:
            return no_answer(f"no answer within {timeout_s:g} s")
        return Answer.accepted() if was_told else no_answer("it was not taken")

    return send


async def _post(post: Post, headers: dict[str, str], target: Target, message: Message, *, at_s: int) -> Answer:
    body = body_of(message)
    if target.key is None:
        about = unsigned(message.message_id, at_s=at_s)
    else:
        about = signed(message.message_id, body, target.key, at_s=at_s)
    try:
        posted = await post(target.url, body, {**headers, **about})
    except Fault as fault:
        return no_answer(f"{_WORDS.get(fault.outcome, 'no answer')}: {fault.message}")
    return answer_of(posted.status, retry_after_s=posted.retry_after_s)
