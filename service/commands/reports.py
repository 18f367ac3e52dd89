"""What `farthing spend` and `farthing latency` share: their options, and how a report is read and shown."""

import asyncio
import datetime
import sys
from collections.abc import Awaitable, Callable
from contextlib import nullcontext
from typing import Final, Generic, TypeVar, cast

import click
import msgspec
from rich.console import Console, RenderableType
from rich.live import Live
from rich.measure import Measurement
from rich.table import Table

from ledger.errors import LedgerError, LedgerUnavailable
from ledger.faces import LedgerReports
from ledger.ledger import open_reports
from ledger.reports import LatencyQuery, SpendQuery, UnknownDimension, check_query, parse_moment
from service.clock import now_ms
from service.commands.failing import failing, load_ledger_or_exit
from service.commands.sparks import BLOCKS, FEWEST_CELLS, Courses, Figure, Report, courses
from service.commands.tables import COLUMN_EXTRA, Sparks, on_width, plain_console, report_csv

WATCH_S: Final = 2.0

Query = TypeVar("Query", SpendQuery, LatencyQuery)


class Kind(msgspec.Struct, Generic[Query], frozen=True):
    """A report: what it is asked with, how it is read, its table, and the figure whose course is shown beside it."""

    query: type[Query]
    read: Callable[[LedgerReports, Query], Awaitable[Report]]
    table: Callable[[Report, Sparks | None], Table]
    figure: Figure


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What the command line asked for. watch: refresh after so many seconds; None: show it once."""

    path: str | None
    by: str
    since: str | None
    until: str | None
    as_json: bool
    as_csv: bool
    no_spark: bool
    watch: float | None


def report_options(command: Callable[..., None]) -> Callable[..., None]:
    """The options that both reports take."""
    for option in reversed(
        (
            click.option("--config", "path", help="The config file; else $FARTHING_CONFIG, else ./farthing.toml."),
            click.option(
                "--by",
                multiple=True,
                default=("model",),
                show_default=True,
                callback=lambda _context, _option, several: ",".join(several),
                help="Dimensions, separated by commas, or one --by for each.",
            ),
            click.option("--since", help="2026-11-21, 2026-11-21T10:00:00Z, 24h, 7d."),
            click.option("--until", help="As --since; not included."),
            click.option("--json", "as_json", is_flag=True, help="The report as JSON."),
            click.option("--csv", "as_csv", is_flag=True, help="The rows as CSV."),
            click.option("--no-spark", is_flag=True, help="Without the course of each row over the window."),
            click.option(
                "--watch",
                is_flag=False,
                flag_value=WATCH_S,
                type=click.FloatRange(min=0.1),
                metavar="[SECONDS]",
                help=f"Refresh in place every so often ({WATCH_S:g} s), until Ctrl-C.",
            ),
        )
    ):
        command = option(command)
    return command


def show_report(kind: Kind[Query], options: Options) -> None:
    """Read the report from the config's ledger, with or without a service running on it, and show it."""
    make_query(kind, options)
    if options.as_json and options.as_csv:
        failing("--json and --csv are two forms of one report: choose one", status=2)
    if options.watch is not None and (options.as_json or options.as_csv or not sys.stdout.isatty()):
        failing("--watch refreshes a table on a terminal: it goes with neither --json, --csv nor a pipe", status=2)
    config = load_ledger_or_exit(options.path)
    show = _print_once if options.watch is None else _keep_showing
    try:
        asyncio.run(show(kind, options, config.ledger.url))
    except LedgerError as error:
        failing(str(error), status=4)
    except KeyboardInterrupt:
        # Asked for by name: it is how a watch ends.
        if options.watch is None:
            raise


def make_query(kind: Kind[Query], options: Options) -> Query:
    """The query that these options ask for now, or exit 2 saying what is wrong with them."""
    try:
        query = kind.query(
            since_ms=None if options.since is None else parse_moment(options.since, now_ms()),
            until_ms=None if options.until is None else parse_moment(options.until, now_ms()),
            group_by=tuple(name.strip() for name in options.by.split(",") if name.strip()),
        )
        check_query(query)
    except (UnknownDimension, ValueError) as error:
        failing(str(error), status=2)
    return query


async def _print_once(kind: Kind[Query], options: Options, url: str) -> None:
    async with open_reports(url, clock_ms=now_ms) as reports:
        if not options.as_json and not options.as_csv:
            console = plain_console()
            console.print(await report_table(kind, options, reports, console))
            return
        report = await kind.read(reports, make_query(kind, options))
    if options.as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(report)))
    else:
        click.echo(report_csv(report).encode(), nl=False)


async def _keep_showing(kind: Kind[Query], options: Options, url: str) -> None:
    """The table, anew every so often. While the ledger cannot be read the last one stands, and says so."""
    assert options.watch is not None
    console = plain_console()
    async with open_reports(url, clock_ms=now_ms) as reports:
        table = await report_table(kind, options, reports, console)
        # A terminal that cannot move its cursor gets one table after the other.
        with nullcontext() if console.is_dumb_terminal else Live(console=console, auto_refresh=False) as live:
            told = ""
            while True:
                at = datetime.datetime.now(datetime.UTC).strftime("%H:%M:%S")
                table.caption = told or f"{at} UTC, every {options.watch:g} s; Ctrl-C ends"
                table.caption_justify = "left"
                if live is None:
                    console.print(table)
                else:
                    live.update(cast("RenderableType", table), refresh=True)
                await asyncio.sleep(options.watch)
                try:
                    table, told = await report_table(kind, options, reports, console), ""
                except LedgerUnavailable as error:
                    told = f"as it was: {error}"


async def report_table(kind: Kind[Query], options: Options, reports: LedgerReports, console: Console) -> Table:
    """The report, with the course of each row where that is wished for and there is room for it."""
    query = make_query(kind, options)
    report = await kind.read(reports, query)
    table = kind.table(report, None)
    if not options.no_spark and console.is_terminal and _shows_blocks(console):
        course = await courses(lambda it: kind.read(reports, it), query, kind.figure, now_ms=now_ms())
        taken = Measurement.get(console, console.options.update(max_width=10_000), table).maximum
        if course is not None and (cells := course.cells(console.width - taken - COLUMN_EXTRA)) >= FEWEST_CELLS:
            return kind.table(report, _sparks(course, cells))
    return on_width(table, console.width)


def _sparks(course: Courses, cells: int) -> Sparks:
    return Sparks(course.heading(cells), lambda key: course.line(key, cells))


def _shows_blocks(console: Console) -> bool:
    try:
        BLOCKS.encode(console.encoding)
    except (UnicodeEncodeError, LookupError):
        return False
    return True
