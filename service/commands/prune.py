"""`farthing prune`."""

import click

from ledger.errors import NotALedger, TooRecent
from ledger.reports import iso, parse_moment
from ledger.upkeep import prune_ledger
from ledger.url import is_on_server
from service.clock import now_ms
from service.commands.failing import failing, load_ledger_or_exit, progress


@click.command()
@click.option("--before", required=True, help="2026-11-21, 2026-11-21T10:00:00Z, 90d; back to the whole hour.")
@click.option("--dry-run", is_flag=True, help="Say what would be folded, and change nothing.")
@click.option("--config", "path", help="The config file; else $FARTHING_CONFIG, else ./farthing.toml, else none.")
def prune(before: str, path: str | None, *, dry_run: bool) -> None:
    """Fold old detail into closing balances. Sums, reports by the hour and the chain stay whole. Safe while serving."""
    config = load_ledger_or_exit(path)
    now = now_ms()
    try:
        before_ms = parse_moment(before, now)
        with progress("prune") as tell:
            pruned = prune_ledger(config.ledger.url, before_ms, now_ms=now, dry_run=dry_run, on_step=tell)
    except (ValueError, TooRecent) as error:
        failing(str(error), status=2)
    except NotALedger as error:
        failing(str(error), status=4)
    click.echo(
        f"{'would fold' if dry_run else 'folded'}: {pruned.postings:,} postings and {pruned.holds:,} attempts of "
        f"{pruned.generations:,} calls, {pruned.responses:,} expired answers"
    )
    if pruned.events:
        click.echo(f"forgot {pruned.events:,} alerts that are over")
    if pruned.postings:
        click.echo(f"lines up to {pruned.through_seq:,}, before {iso(pruned.before_ms)}")
        if not dry_run and not is_on_server(config.ledger.url):
            click.echo("the file's free pages are used again; to make it smaller, serve a `farthing backup` of it")
