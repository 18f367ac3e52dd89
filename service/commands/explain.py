"""`farthing explain`."""

import asyncio
from typing import Any

import click
import msgspec

from ledger.errors import LedgerError
from ledger.ledger import open_reports
from service.clock import now_ms
from service.commands.failing import failing, load_ledger_or_exit
from service.commands.story import story_view
from service.commands.tables import plain_console


@click.command()
@click.argument("generation_id", metavar="ID")
@click.option("--config", "path", help="The config file; else $FARTHING_CONFIG, else ./farthing.toml, else none.")
@click.option("--json", "as_json", is_flag=True, help="As GET /ledger/generations/{id} answers.")
def explain(generation_id: str, path: str | None, *, as_json: bool) -> None:
    """What one answer cost and why: every attempt, its tokens at their prices, its hold and its corrections.

    ID is in the header x-farthing-id of every answer. Exit 1: there is no such call.
    """
    config = load_ledger_or_exit(path)

    async def read() -> dict[str, Any] | None:
        async with open_reports(config.ledger.url, clock_ms=now_ms) as reports:
            return await reports.generation(generation_id)

    try:
        story = asyncio.run(read())
    except LedgerError as error:
        failing(str(error), status=4)
    if story is None:
        failing(f"there is no call {generation_id!r} in this ledger")
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(story)))
    else:
        plain_console().print(story_view(story))
