"""`farthing alerts`."""

import asyncio
import secrets
import sys
from collections.abc import Sequence

import click
from rich.box import SIMPLE
from rich.table import Table
from rich.text import Text

from router.providers.post import open_post
from service.alerts.answers import Answer, Outcome
from service.alerts.message import Message
from service.alerts.sending import sending_by
from service.alerts.targets import Target, targets_of
from service.clock import now_ms
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


def _said(answer: Answer) -> str:
    if answer.outcome == Outcome.ACCEPTED:
        return "taken" if answer.status is None else f"taken ({answer.status})"
    return answer.said
