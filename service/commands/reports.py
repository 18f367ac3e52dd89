"""What `farthing spend` and `farthing latency` share: their options, and how a report is read and printed."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import click
import msgspec
from rich.table import Table

from ledger.errors import LedgerError
from ledger.ledger import LedgerReports, open_reports
from ledger.reports import LatencyQuery, SpendQuery, UnknownDimension, check_dimensions, parse_moment
from service.clock import now_ms
from service.commands.failing import failing, load_or_exit
from service.commands.tables import plain_console, report_csv

Query = SpendQuery | LatencyQuery


def report_options(command: Callable[..., None]) -> Callable[..., None]:
    """The options that both reports take."""
    for option in reversed(
        (
            click.option("--config", "path", help="The config file; else $FARTHING_CONFIG, else ./farthing.toml."),
            click.option("--by", default="model", show_default=True, help="Dimensions, separated by commas."),
            click.option("--since", help="2026-11-21, 2026-11-21T10:00:00Z, 24h, 7d."),
            click.option("--until", help="As --since; not included."),
            click.option("--json", "as_json", is_flag=True, help="The report as JSON."),
            click.option("--csv", "as_csv", is_flag=True, help="The rows as CSV."),
        )
    ):
        command = option(command)
    return command


def make_query(kind: type[SpendQuery] | type[LatencyQuery], by: str, since: str | None, until: str | None) -> Query:
    """The query that these options ask for, or exit 2 saying what is wrong with them."""
    try:
        query = kind(
            since_ms=None if since is None else parse_moment(since, now_ms()),
            until_ms=None if until is None else parse_moment(until, now_ms()),
            group_by=tuple(name.strip() for name in by.split(",") if name.strip()),
        )
        check_dimensions(query)
    except (UnknownDimension, ValueError) as error:
        failing(str(error), status=2)
    return query


def print_report(
    path: str | None,
    read: Callable[[LedgerReports], Awaitable[dict[str, Any]]],
    table: Callable[[dict[str, Any]], Table],
    *,
    as_json: bool,
    as_csv: bool,
) -> None:
    """Read the report from the config's ledger, with or without a service running on it, and print it."""
    config = load_or_exit(path)

    async def run() -> dict[str, Any]:
        async with open_reports(config.ledger.url, clock_ms=now_ms) as reports:
            return await read(reports)

    try:
        report = asyncio.run(run())
    except LedgerError as error:
        failing(str(error), status=4)
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(report)))
    elif as_csv:
        click.echo(report_csv(report), nl=False)
    else:
        plain_console().print(table(report))
