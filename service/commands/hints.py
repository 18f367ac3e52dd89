"""`farthing hints`."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final

import click
import msgspec
from rich.box import SIMPLE
from rich.table import Table
from rich.text import Text

from ledger.errors import LedgerError
from ledger.ledger import open_ledger
from ledger.prices import load_book
from router.errors import UnknownModel
from router.hint_keeper import Hints, report_of
from router.hints import Hint
from router.lessons import ENDPOINTS
from router.memory import Memory
from router.orders import WrongOrder, order
from service.clock import now_ms
from service.commands.correcting import REFUSED, UNREADABLE, open_present_ledger
from service.commands.failing import failing, load_books_or_exit
from service.commands.tables import plain_console, printable
from service.config import Config
from service.config.catalog import Catalog

# What is said before the service first starts; the others take something back.
_MAKES_LEDGER: Final = frozenset({"block", "prefer"})
_DEPLOYMENT = click.argument("deployment", metavar="PROVIDER:MODEL")
# Before a subcommand or after it, where it counts more.
_CONFIG = click.option(
    "--config",
    "path",
    default=lambda: click.get_current_context().obj,
    help="The config file; else $FARTHING_CONFIG, else ./farthing.toml, else none.",
)


@click.group(invoke_without_command=True)
@_CONFIG
@click.option("--provider", help="Only of this provider's deployments.")
@click.option("--json", "as_json", is_flag=True, help="As GET /router/hints answers.")
@click.pass_context
def hints(ctx: click.Context, path: str | None, provider: str | None, *, as_json: bool) -> None:
    """What was learned of deployments from their answers and errors; and a word of your own on them.

    A service on the same ledger hears of it within a second.
    """
    if ctx.invoked_subcommand is not None:
        ctx.obj = path
        return
    known = _known(load_books_or_exit(path))
    shown = {name: report_of(known[name]) for name in sorted(known) if provider in {None, name.partition(":")[0]}}
    if as_json:
        listed = [{"deployment": name, **report} for name, report in shown.items()]
        click.echo(msgspec.json.format(msgspec.json.encode({"hints": listed})))
    elif shown:
        plain_console().print(hints_table(shown))
    else:
        click.echo("nothing was learned yet")


@hints.command()
@_CONFIG
@_DEPLOYMENT
@click.option("--reason", default="", help="Why; it is shown wherever the block is.")
def block(path: str | None, deployment: str, reason: str) -> None:
    """Send it no calls, until it is allowed again."""
    _give(path, deployment, "block", reason=reason)
    click.echo(f"{deployment} is blocked until: farthing hints allow {deployment}")


@hints.command()
@_CONFIG
@_DEPLOYMENT
def allow(path: str | None, deployment: str) -> None:
    """Lift its block, whoever made it."""
    _give(path, deployment, "allow")
    click.echo(f"{deployment} is allowed")


@hints.command()
@_CONFIG
@_DEPLOYMENT
@click.argument("endpoint", type=click.Choice(sorted(ENDPOINTS)))
def prefer(path: str | None, deployment: str, endpoint: str) -> None:
    """Ask it at this endpoint."""
    _give(path, deployment, "prefer", endpoint=endpoint)
    click.echo(f"{deployment} is asked at {endpoint}")


@hints.command()
@_CONFIG
@_DEPLOYMENT
def forget(path: str | None, deployment: str) -> None:
    """Forget all that was learned of it, and what was said by hand."""
    _give(path, deployment, "forget")
    click.echo(f"nothing is known of {deployment} any more")


def hints_table(shown: dict[str, dict[str, Any]]) -> Table:
    """{deployment: its report}, a line each."""
    table = Table(title="hints", title_justify="left", title_style="bold", box=SIMPLE)
    table.add_column("deployment", overflow="fold")
    for heading in ("answers", "errors"):
        table.add_column(heading, justify="right")
    for heading in ("last error", "asked at", "not sent", "blocked"):
        table.add_column(heading, overflow="fold")
    for name, report in shown.items():
        renamed = [f"{old} as {new}" for old, new in report["renamed_params"].items()]
        cells = (
            _last_error(report["last_error"]),
            report["preferred_endpoint"] or "",
            ", ".join((*report["refused_params"], *renamed)),
            _block(report["block"]),
        )
        counts = (str(report["successes"]), str(sum(report["errors"].values())))
        table.add_row(Text(printable(name)), *counts, *(Text(printable(cell)) for cell in cells))
    return table


def _last_error(error: dict[str, Any] | None) -> str:
    if error is None:
        return ""
    words = (error["outcome"], str(error["status"] or ""), error["code"], _moment(error["at_ms"]))
    return " ".join(word for word in words if word)


def _block(block: dict[str, Any] | None) -> str:
    if block is None:
        return ""
    if block["probe_at_ms"] is None:
        return f"by hand since {_moment(block['since_ms'])} {block['reason']}".rstrip()
    return f"{block['cause']}, probed from {_moment(block['probe_at_ms'])}"


def _moment(at_ms: int) -> str:
    return f"{datetime.fromtimestamp(at_ms / 1000, UTC):%Y-%m-%d %H:%M:%SZ}"


def _known(config: Config) -> dict[str, Hint]:
    """All hints. Exit 4: the ledger cannot be read."""

    async def read() -> dict[str, Hint]:
        async with open_present_ledger(config) as ledger:
            memory = Memory(ledger)
            keeper = Hints(now_ms=now_ms, memory=memory)
            await memory.learn()
            return {name: keeper.get(name) for name in keeper.known()}

    try:
        return asyncio.run(read())
    except LedgerError as error:
        failing(str(error), status=UNREADABLE)


def _give(path: str | None, deployment: str, action: str, *, endpoint: str = "", reason: str = "") -> None:
    """Exit 2: no such deployment, or no such order; 4: the ledger is not there, or takes no writes."""
    config = load_books_or_exit(path)
    if not _is_deployment(config, deployment):
        providers = ", ".join(provider.name for provider in config.providers)
        failing(f"{deployment!r} is no provider:model; there are the providers {providers}", status=REFUSED)
    try:
        rule = order(action, now_ms=now_ms(), endpoint=endpoint, reason=reason)
        asyncio.run(_change(config, deployment, rule, makes_ledger=action in _MAKES_LEDGER))
    except WrongOrder as error:
        failing(f"{error.field} {error}", status=REFUSED)
    except LedgerError as error:
        failing(str(error), status=UNREADABLE)


def _is_deployment(config: Config, name: str) -> bool:
    """Whether it is `provider:model` of a provider in the config, and no route that is called like one."""
    try:
        return Catalog(config, load_book(), now_ms=now_ms()).resolve(name).targets[0].id == name
    except UnknownModel:
        return False


async def _change(config: Config, deployment: str, rule: Callable[[Hint], Hint], *, makes_ledger: bool) -> None:
    url = config.ledger.url
    async with open_ledger(url, clock_ms=now_ms) if makes_ledger else open_present_ledger(config) as ledger:
        memory = Memory(ledger)
        keeper = Hints(now_ms=now_ms, memory=memory)
        await memory.learn()
        await keeper.change(deployment, rule)
