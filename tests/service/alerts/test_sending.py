"""One message to one target: what each kind of answer is taken for, and what the message looks like."""

import json

import pytest
from standardwebhooks import Webhook

from ledger.ledger import wall_ms
from router.providers.post import open_post
from service.alerts.answers import Outcome
from service.alerts.message import Message, text_of, title_of
from service.alerts.sending import sending_by
from service.alerts.targets import targets_of
from service.config.model import AlertSection
from tests.upstream import (
    close_after_request,
    half_headers,
    hang,
    hang_after_headers,
    raw,
    redirect,
    scripted_upstream,
    status,
)

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
AT_MS = 1_700_000_000_000
FACTS = {
    "scope": "global",
    "window": "month",
    "limit_usd": "5.000000000",
    "limit_nanousd": 5_000_000_000,
    "threshold": 0.8,
    "ends_at": None,
}
MESSAGE = Message(message_id="evt_1", type="ceiling.threshold", at_ms=AT_MS, facts=FACTS)


def target(url: str, **more):
    (made,) = targets_of([AlertSection(url=url, **more)])
    return made


async def send(to, *, timeout_s: float = 5.0, message: Message = MESSAGE):
    async with open_post(clock_ms=wall_ms) as post:
        return await sending_by(post, now_ms=wall_ms, timeout_s=timeout_s)(to, message)


async def test_a_webhook_is_signed_and_says_what_happened():
    async with scripted_upstream() as receiver:
        receiver.plays(status(204, ""), status(200, ""))
        answer = await send(target(f"{receiver.root}/hook?of=ours", secret=SECRET))
        assert (answer.outcome, answer.status, answer.said) == (Outcome.ACCEPTED, 204, "")
        (request,) = receiver.requests
        said = Webhook(SECRET).verify(request.raw_body, request.headers)
        assert said == {
            "type": "ceiling.threshold",
            "timestamp": "2023-11-14T22:13:20.000Z",
            "data": {"id": "evt_1", **FACTS},
        }
        assert (request.path, request.headers["webhook-id"]) == ("/hook?of=ours", "evt_1")
        assert request.headers["content-type"] == "application/json"
        assert request.headers["user-agent"].startswith("farthing/")

        assert (await send(target(f"{receiver.root}/hook"))).outcome == Outcome.ACCEPTED
        assert "webhook-signature" not in receiver.requests[1].headers
        assert receiver.requests[1].headers["webhook-id"] == "evt_1"


@pytest.mark.parametrize(
    ("plays", "outcome", "code", "said", "is_trouble"),
    [
        (status(500), Outcome.FAILED, 500, "answered 500", True),
        (status(503, headers={"retry-after": "7"}), Outcome.FAILED, 503, "answered 503", True),
        (status(429, headers={"retry-after": "7"}), Outcome.FAILED, 429, "answered 429", True),
        (status(408), Outcome.FAILED, 408, "answered 408", True),
        (status(404), Outcome.FAILED, 404, "answered 404", False),
        (status(410), Outcome.GONE, 410, "answered 410", False),
        (redirect("/hook"), Outcome.FAILED, 302, "answered 302, a redirect, which is not followed", False),
        (close_after_request(), Outcome.FAILED, None, "the connection broke off before an answer", True),
        (half_headers(), Outcome.FAILED, None, "the connection broke off before an answer", True),
        (raw(b"nonsense\r\n\r\n"), Outcome.FAILED, None, "the connection broke off before an answer", True),
        (hang(), Outcome.FAILED, None, "no answer within 0.3 s", True),
        (hang_after_headers(), Outcome.ACCEPTED, 200, "", False),
    ],
)
async def test_each_answer_is_taken_for_what_it_is(plays, outcome, code, said, is_trouble):
    async with scripted_upstream() as receiver:
        receiver.plays(plays)
        answer = await send(target(f"{receiver.root}/hook", secret=SECRET), timeout_s=0.3)
        assert (answer.outcome, answer.status, answer.is_trouble) == (outcome, code, is_trouble)
        assert answer.said.startswith(said)
        assert answer.retry_after_s == (7 if code in {429, 503} else None)
        assert len(receiver.requests) == 1, "a redirect is not followed"
        await receiver.until(lambda it: it.open_connections == 0)


async def test_a_receiver_that_is_not_there_is_told_by_its_host_alone():
    async with scripted_upstream() as receiver:
        url = f"{receiver.root}/hook"
    answer = await send(target(url))
    assert (answer.outcome, answer.status, answer.is_trouble) == (Outcome.FAILED, None, True)
    assert answer.said.startswith("no connection")
    assert "hook" not in answer.said


async def test_an_apprise_address_gets_words_for_people(caplog):
    async with scripted_upstream() as receiver:
        receiver.plays(status(200, ""), status(500), hang())
        to = target(receiver.root.replace("http://", "json://") + "/hook")
        answer = await send(to)
        assert (answer.outcome, answer.said) == (Outcome.ACCEPTED, "")
        (request,) = receiver.requests
        said = json.loads(request.raw_body)
        assert said["title"] == "Farthing: A ceiling fills up: 80% of global a month"
        assert said["message"].splitlines() == [
            "type: ceiling.threshold",
            "at: 2023-11-14T22:13:20.000Z",
            "scope: global",
            "window: month",
            "limit: $5.000000000",
            "threshold: 0.8",
            "id: evt_1",
        ]
        refused = await send(to)
        assert (refused.outcome, refused.said, refused.is_trouble) == (Outcome.FAILED, "it was not taken", True)
        late = await send(to, timeout_s=0.3)
        assert late.said == "no answer within 0.3 s"
    assert caplog.text == "", "what Apprise says may quote the address"


def test_a_digest_in_words_is_a_line_for_each_event_that_it_shows():
    ceiling = {"id": "evt_2", "type": "ceiling.exceeded", "at": "2023-11-14T22:13:20.000Z", **FACTS, "threshold": 1.0}
    disk = {"id": "evt_3", "type": "disk.low", "at": "2023-11-14T22:13:21.000Z", "free_bytes": 7}
    facts = {"events": 9, "counts": {"ceiling.exceeded": 1, "disk.low": 8}, "since": "2023-11-14T22:13:20.000Z"}
    message = Message(message_id="evt_1", type="digest", at_ms=AT_MS, facts={**facts, "first": [ceiling, disk]})
    assert title_of(message) == "Farthing: Several things happened: 1 ceiling.exceeded, 8 disk.low"
    assert text_of(message).splitlines()[2:] == [
        "2023-11-14T22:13:20.000Z A ceiling is reached: 100% of global a month",
        "2023-11-14T22:13:21.000Z The ledger's disk is nearly full",
        "and 7 more, since 2023-11-14T22:13:20.000Z",
        "id: evt_1",
    ]
