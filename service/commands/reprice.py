"""`farthing reprice`."""

import datetime
from collections import Counter
from functools import cache

import click
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from ledger.ceilings import DAY_MS
from ledger.corrections import Charged, Corrector, PriceAt, repriced
from ledger.money import format_usd
from ledger.prices import Price, load_book
from ledger.reports import parse_moment
from service.clock import now_ms
from service.commands.correcting import REFUSED, batches, with_corrector
from service.commands.failing import failing, load_books_or_exit
from service.commands.tables import plain_console
from service.config import Config
from service.config.catalog import Catalog


@click.command()
@click.option("--since", required=True, help="2026-11-21, 2026-11-21T10:00:00Z, 24h, 7d.")
@click.option("--until", help="As --since; not included.")
@click.option("--model", help="Only attempts at this provider:model.")
@click.option("--dry-run", is_flag=True, help="Show what would change, and write nothing.")
@click.option("--config", "path", help="The config file; else $FARTHING_CONFIG, else ./farthing.toml, else none.")
def reprice(since: str, until: str | None, model: str | None, path: str | None, *, dry_run: bool) -> None:
    """Charge past attempts at the prices that the book and the config now have for their day.

    Each difference becomes a line with the new price's version. What a provider reported stands, and so does what
    nobody counted. Safe while the service runs; doing it twice changes nothing.
    """
    config = load_books_or_exit(path)
    try:
        since_ms = parse_moment(since, now_ms())
        until_ms = parse_moment(until, now_ms()) if until else now_ms() + DAY_MS
    except ValueError as error:
        failing(str(error), status=REFUSED)
    price_at, counts, sums = prices_by_day(config), Counter[str](), Counter[str]()

    async def work(corrector: Corrector) -> int:
        looked_at = 0
        async for found in batches(corrector, since_ms=since_ms, until_ms=until_ms):
            chosen = [attempt for attempt in found if model is None or attempt.deployment == model]
            changes = [(attempt, change) for attempt in chosen if (change := repriced(attempt, price_at))]
            if changes and not dry_run:
                await corrector.correct([change for _, change in changes])
            for attempt, change in changes:
                counts[attempt.deployment] += 1
                sums[attempt.deployment] += change.cost_nanousd - attempt.cost_nanousd
            looked_at += len(chosen)
            status.update(f"{looked_at:,} attempts")
        return looked_at

    with Console(stderr=True).status("looking at attempts") as status:
        looked_at = with_corrector(config, work)
    if counts:
        plain_console().print(_table(counts, sums))
    done = "would change" if dry_run else "changed"
    click.echo(
        f"{looked_at:,} attempts looked at, {counts.total():,} {done} by {format_usd(sum(sums.values()))} in all"
    )


def prices_by_day(config: Config) -> PriceAt:
    """The prices that the book and the config now have for a day."""
    book = load_book()

    @cache
    def catalog(day: int) -> Catalog:
        return Catalog(config, book, now_ms=day * DAY_MS)

    @cache
    def price_on(deployment: str, day: int) -> Price | None:
        return catalog(day).price_of(deployment)

    return lambda deployment, at_ms: price_on(deployment, at_ms // DAY_MS)


def day_of(attempt: Charged) -> str:
    """The UTC day that its hold was taken on."""
    return datetime.datetime.fromtimestamp(attempt.taken_at_ms / 1000, datetime.UTC).date().isoformat()


def _table(counts: Counter[str], sums: Counter[str]) -> Table:
    table = Table("model", box=SIMPLE, title="repriced (dollars)")
    table.add_column("attempts", justify="right")
    table.add_column("difference", justify="right")
    for model, count in sorted(counts.items()):
        table.add_row(model, f"{count:,}", format_usd(sums[model]))
    return table
