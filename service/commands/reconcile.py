"""`farthing reconcile`."""

import datetime
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import click
import msgspec
from rich.box import SIMPLE
from rich.table import Table
from rich.text import Text

from ledger.ceilings import DAY_MS
from ledger.corrections import BATCH, Charged, Corrector, reconciled
from ledger.money import format_usd
from service.commands.correcting import REFUSED, batches, with_corrector
from service.commands.failing import failing, load_books_or_exit
from service.commands.reprice import day_of
from service.commands.tables import on_width, plain_console, printable
from service.config import Config
from service.exports import ExportUnreadable, Mapped, Total, read_export

DEFAULT: Final = Mapped(columns={"day": "day", "model": "model", "cost_usd": "cost_usd"})

Place = tuple[str, str]


class Drift(msgspec.Struct, frozen=True, kw_only=True):
    """One model on one day: what the ledger has of it, and what its provider says (None: nothing)."""

    day: str
    model: str
    ours: tuple[Charged, ...]
    theirs: Total | None

    @property
    def ours_nanousd(self) -> int:
        """What the ledger has."""
        return sum(attempt.cost_nanousd for attempt in self.ours)

    @property
    def difference_nanousd(self) -> int | None:
        """How much more the provider says. None: it says nothing of money."""
        theirs = None if self.theirs is None else self.theirs.cost_nanousd
        return None if theirs is None else theirs - self.ours_nanousd


@click.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--provider", required=True, help="Whose export it is, as [[providers]] names it.")
@click.option("--format", "form", type=click.Choice(["csv", "json"]), help="Left out: by the file's name.")
@click.option("--apply", "applies", is_flag=True, help="Write lines that settle the difference.")
@click.option("--json", "as_json", is_flag=True, help="The drift as JSON.")
@click.option("--config", "path", help="The config file; else $FARTHING_CONFIG, else ./farthing.toml, else none.")
def reconcile(file: Path, provider: str, form: str | None, path: str | None, *, applies: bool, as_json: bool) -> None:
    """Compare the ledger with a provider's usage or cost export, by day (UTC) and model.

    Columns are mapped in [[reconcile]]. With --apply, lines that name the file bring each day and model to what the
    provider says: attempts of basis unknown bear the difference first, then estimates, then all, by their amounts.
    """
    config = load_books_or_exit(path)
    if provider not in {section.name for section in config.providers}:
        failing(f"there is no provider {provider!r} in the config", status=REFUSED)
    data = file.read_bytes()
    try:
        totals = read_export(data.decode(), _mapped(config, provider), is_json=(form or file.suffix[1:]) == "json")
    except (ExportUnreadable, UnicodeDecodeError) as error:
        failing(f"{file}: {error}", status=REFUSED)
    if not totals:
        failing(f"{file} has no rows", status=REFUSED)
    reason = f"reconciled with {file.name}, sha256 {hashlib.sha256(data).hexdigest()[:16]}"

    async def work(corrector: Corrector) -> tuple[list[Drift], int]:
        drifts = await _drifts(corrector, provider, totals)
        written = 0
        for drift in drifts if applies else ():
            if drift.ours and drift.theirs is not None and drift.theirs.cost_nanousd is not None:
                changes = reconciled(drift.ours, drift.theirs.cost_nanousd, reason)
                for first in range(0, len(changes), BATCH):
                    written += len(await corrector.correct(changes[first : first + BATCH]))
        return drifts, written

    drifts, written = with_corrector(config, work)
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode([_object(drift) for drift in drifts])))
    else:
        console = plain_console()
        console.print(on_width(drift_table(drifts), console.width))
    if applies:
        click.echo(f"{written:,} lines written: {reason}", err=True)


def _mapped(config: Config, provider: str) -> Mapped:
    section = next((section for section in config.reconcile if section.provider == provider), None)
    return DEFAULT if section is None else Mapped(columns=section.columns, rows=section.rows, models=section.models)


async def _drifts(corrector: Corrector, provider: str, totals: Mapping[Place, Total]) -> list[Drift]:
    """Every day and model of the export, and those that only the ledger has within its days."""
    days = sorted(day for day, _ in totals)
    since_ms, until_ms = _midnight_ms(days[0]), _midnight_ms(days[-1]) + DAY_MS
    ours: dict[Place, list[Charged]] = {}
    async for found in batches(corrector, since_ms=since_ms, until_ms=until_ms):
        for attempt in found:
            name, _, model = attempt.deployment.partition(":")
            if name == provider:
                ours.setdefault((day_of(attempt), model), []).append(attempt)
    return [
        Drift(day=day, model=model, ours=tuple(ours.get((day, model), ())), theirs=totals.get((day, model)))
        for day, model in sorted({*totals, *ours})
    ]


def _midnight_ms(day: str) -> int:
    return round(datetime.datetime.fromisoformat(day).replace(tzinfo=datetime.UTC).timestamp() * 1000)


def _object(drift: Drift) -> dict[str, object]:
    theirs = drift.theirs
    return {
        "day": drift.day,
        "model": drift.model,
        "attempts": len(drift.ours),
        "ours_nanousd": drift.ours_nanousd,
        "theirs_nanousd": None if theirs is None else theirs.cost_nanousd,
        "difference_nanousd": drift.difference_nanousd,
        "our_tokens": _our_tokens(drift),
        "their_tokens": None if theirs is None else [theirs.input_tokens, theirs.output_tokens],
    }


def _our_tokens(drift: Drift) -> list[int]:
    known = [attempt.usage for attempt in drift.ours if attempt.usage is not None]
    return [sum(usage.prompt_tokens for usage in known), sum(usage.completion_tokens for usage in known)]


def drift_table(drifts: list[Drift]) -> Table:
    """A line for each model of each day, in dollars."""
    table = Table(box=SIMPLE, title="ours and theirs (dollars)", title_justify="left", title_style="bold")
    table.add_column("day", no_wrap=True)
    table.add_column("model", overflow="fold")
    for name in ("attempts", "ours", "theirs", "difference", "%"):
        table.add_column(name, justify="right")
    for drift in drifts:
        theirs = None if drift.theirs is None else drift.theirs.cost_nanousd
        difference = drift.difference_nanousd
        percent = (
            f"{100 * difference / drift.ours_nanousd:+.2f}" if difference is not None and drift.ours_nanousd else "-"
        )
        table.add_row(
            drift.day,
            Text(printable(drift.model)),
            f"{len(drift.ours):,}",
            format_usd(drift.ours_nanousd),
            "-" if theirs is None else format_usd(theirs),
            "-" if difference is None else format_usd(difference),
            percent,
        )
    return table
