"""`farthing alerts`."""

import asyncio
import secrets
import sys
from collections.abc import Sequence
from typing import Any, get_args

import click
import msgspec
from rich.box import SIMPLE
from rich.table import Table
from rich.text import Text

from ledger.errors import LedgerError
from ledger.events import DeliveryState, EventsQuery
from ledger.ledger import open_reports
from router.providers.post import open_post
from service.alerts.answers import Answer, Outcome
from service.alerts.message import Message, subject_of
from service.alerts.sending import sending_by
from service.alerts.targets import Target, targets_of
from service.clock import now_ms
from service.commands.correcting import REFUSED, UNREADABLE, open_present_ledger
from service.commands.failing import failing, load_or_exit
from service.commands.tables import plain_console, printable

NOT_TAKEN = 1
_CONFIG = click.option(
    "--config", "path", help="The config file; else $FARTHING_CONFIG, else ./farthing.toml, else none."
)


@click.group()
def alerts() -> None:
    """Who is told of events: try it, see what was told, tell it again."""


@alerts.command()
@_CONFIG
def test(path: str | None) -> None:
    """Send a test event to every target and say how each answered. Exit 1 if one did not take it."""
    targets = targets_of(load_or_exit(path).alerts)
    if not targets:
        failing("there is nobody to tell: the config has no [[alerts]]", status=NOT_TAKEN)
    answers = asyncio.run(_send_test(targets))
    plain_console().print(_answers_table(targets, answers))
    if any(answer.outcome != Outcome.ACCEPTED for answer in answers):
        sys.exit(NOT_TAKEN)


@alerts.command(name="list")
@_CONFIG
@click.option("--state", type=click.Choice(get_args(DeliveryState)), help="Only what stands so with somebody.")
@click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True, help="So many, the newest.")
@click.option("--json", "as_json", is_flag=True, help="As GET /alerts answers.")
def list_alerts(path: str | None, *, state: DeliveryState | None, limit: int, as_json: bool) -> None:
    """What happened, newest first, and who was told."""
    config = load_or_exit(path)

    async def read() -> dict[str, Any]:
        async with open_reports(config.ledger.url, clock_ms=now_ms) as reports:
            return await reports.events(EventsQuery(state=state, limit=limit))

    try:
        found = asyncio.run(read())
    except LedgerError as error:
        failing(str(error), status=UNREADABLE)
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(found)))
    elif found["alerts"]:
        plain_console().print(alerts_table(found["alerts"]))
    else:
        click.echo("nothing happened that anybody would be told of")


@alerts.command()
@_CONFIG
@click.argument("event_id", metavar="ID")
@click.option("--target", help="Only this one; else all that it could not be delivered to.")
def retry(path: str | None, event_id: str, target: str | None) -> None:
    """Try once more to deliver what was given up. A service on the ledger does it within a second or so."""
    config = load_or_exit(path)

    async def begin() -> list[str]:
        async with open_present_ledger(config) as ledger:
            return await ledger.retry_delivery(event_id, target)

    try:
        begun = asyncio.run(begin())
    except LedgerError as error:
        failing(str(error), status=UNREADABLE)
    if not begun:
        failing(f"nothing of {event_id!r} was given up; see: farthing alerts list --state dead", status=REFUSED)
    click.echo(f"{printable(event_id)} is due again for {printable(', '.join(begun))}")


async def _send_test(targets: Sequence[Target]) -> list[Answer]:
    message = Message(
        message_id=f"evt_{secrets.token_hex(12)}",
        type="test",
        at_ms=now_ms(),
        facts={"text": "Sent by `farthing alerts test`: whoever reads this will be told of events."},
    )
    async with open_post(clock_ms=now_ms) as post:
        send = sending_by(post, now_ms=now_ms)
        return await asyncio.gather(*(send(target, message) for target in targets))


def _answers_table(targets: Sequence[Target], answers: Sequence[Answer]) -> Table:
    table = Table(title="alerts", title_justify="left", title_style="bold", box=SIMPLE)
    for heading in ("target", "address", "answer"):
        table.add_column(heading, overflow="fold")
    for target, answer in zip(targets, answers, strict=True):
        is_taken = answer.outcome == Outcome.ACCEPTED
        cells = (target.name, target.shown, _said(answer))
        table.add_row(*(Text(printable(cell)) for cell in cells), style=None if is_taken else "red")
    return table


def alerts_table(found: Sequence[dict[str, Any]]) -> Table:
    """A line for each alert, as GET /alerts has it."""
    table = Table(title="alerts", title_justify="left", title_style="bold", box=SIMPLE)
    for heading in ("at", "type", "of", "id", "told", "acknowledged by"):
        # An id is copied from here to be retried.
        table.add_column(heading, overflow="fold", no_wrap=heading == "id")
    for alert in found:
        told = ", ".join(map(_stands, alert["deliveries"])) or "nobody"
        by = (alert["acknowledged"] or {}).get("by", "")
        cells = (alert["at"], alert["type"], subject_of(alert["facts"]), alert["id"], told, by)
        table.add_row(*(Text(printable(cell)) for cell in cells))
    return table


def _stands(delivery: dict[str, Any]) -> str:
    """How one delivery stands: `ops`, `ops in a digest`, `ops not yet (answered 500)`, `ops given up (…)`."""
    target, state = delivery["target"], delivery["state"]
    if state == "delivered":
        return f"{target} in a digest" if delivery["digest"] else str(target)
    why = f" ({delivery['last_error']})" if delivery["last_error"] else ""
    return f"{target} {'given up' if state == 'dead' else 'not yet'}{why}"


def _said(answer: Answer) -> str:
    if answer.outcome == Outcome.ACCEPTED:
        return "taken" if answer.status is None else f"taken ({answer.status})"
    return answer.said
