"""Two services on one ledger tell each alert once; one that dies in the middle of it leaves it to the other."""

import asyncio
import os
import signal

from standardwebhooks import Webhook

from ledger.events import EventRaised, EventsQuery
from ledger.ledger import open_ledger, wall_ms
from tests.processes import farthing_serve, one_route
from tests.upstream import answer, scripted_upstream, status

SECRET = "whsec_CANARYCANARYCANARYCANARYCANARYCA"
PATH = "/CANARY-T0001/hook"
# A hundred thousand nano-dollars are the line: one call crosses it.
CEILING = '[[ceilings]]\nscope = "global"\nwindow = "total"\nlimit_usd = "1"\nwarn_at = [0.0001]\n'


def telling(url: str, path: str) -> str:
    return f'[[alerts]]\nname = "ops"\nurl = "{url}{path}"\nsecret = "{SECRET}"\n'


async def happen(ledger, name: str) -> str:
    """Raise an event; its id."""
    raised = EventRaised(type="disk.low", dedup_key=name, at_ms=wall_ms(), facts={"name": name})
    assert await ledger.raise_event(raised)
    return raised.id


def all_of(home) -> bytes:
    """Whatever the ledger keeps."""
    if home.engine == "postgresql":
        home.server.use("pg_dump", "-f", home.folder / "farthing.db.sql", home.name)
    return b"".join(file.read_bytes() for file in home.folder.glob("farthing.db*"))


async def test_each_alert_is_told_once_through_a_kill_and_a_reload_and_no_address_is_shown(home):
    async with scripted_upstream() as upstream, scripted_upstream() as receiver:
        receiver.default = status(200, "")
        upstream.plays(answer("x", prompt_tokens=10, completion_tokens=50))
        config = one_route(upstream.url, more=home.config + CEILING)

        async def got(count: int):
            await receiver.until(lambda it: len(it.requests) >= count, within_s=60)
            return receiver.requests[count - 1]

        async with farthing_serve(
            home.folder, config=config + telling(receiver.root, PATH), environ=home.environ
        ) as first:
            await first.poll("/health/ready", lambda it: it["status"] == "ready")
            code, said = await first.generate(model="chat", prompt="x", params={"max_tokens": 50})
            assert code == 200, said
            told = await got(1)
            verified = Webhook(SECRET).verify(told.raw_body, told.headers)
            assert (verified["type"], verified["data"]["scope"]) == ("ceiling.threshold", "global")
            assert verified["data"]["spent_nanousd"] == said["cost_nanousd"] == 110_000
            async with (
                farthing_serve(home.folder, environ=home.environ) as second,
                open_ledger(home.url) as ledger,
            ):
                await second.poll("/health/ready", lambda it: it["status"] == "ready")
                await happen(ledger, "both")
                await got(2)
                # It came, and its answer does not: nobody knows whether it was taken.
                receiver.plays(status(200, "", gate=asyncio.Event()))
                event_id = await happen(ledger, "cut short")
                cut_short = await got(3)
                first.kill()
                again = await got(4)
                ids = [request.headers["webhook-id"] for request in (cut_short, again)]
                assert ids == [event_id, event_id]
                assert again.raw_body == cut_short.raw_body
                (home.folder / "farthing.toml").write_text(config + telling(receiver.root, "/elsewhere/hook"))
                os.kill(second.process.pid, signal.SIGHUP)
                await second.logs("the config was read again")
                await happen(ledger, "elsewhere")
                assert (await got(5)).path == "/elsewhere/hook"
                alerts = await second.get("/alerts")
                second.terminate()
                assert await second.ended() == 0
                shown = (await ledger.events(EventsQuery()))["alerts"]
        assert [(it["deliveries"][0]["state"], it["deliveries"][0]["tries"]) for it in shown] == [("delivered", 1)] * 4
        assert len(receiver.requests) == 5
        written = all_of(home)
        for secret in ("CANARY-T0001", SECRET):
            assert secret not in first.log + second.log + str(alerts)
            assert secret.encode() not in written
