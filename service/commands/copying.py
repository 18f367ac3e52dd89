"""`farthing copy`."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import click

from ledger.copying import Copied, CopyRefused, SourceBroken, Step, copy_ledger
from ledger.errors import NotALedger
from ledger.pepper import FILE, VARIABLE
from ledger.url import is_on_server, path_of
from ledger.verify import Unreadable
from service.clock import now_ms
from service.commands.failing import failing
from service.commands.verify import BROKEN, UNREADABLE, print_findings

if TYPE_CHECKING:
    from rich.console import Console

TOLD_EACH_S: Final = 5.0


@click.command("copy")
@click.option("--from", "source", required=True, help="sqlite:PATH or postgresql://…; '$NAME': what NAME holds.")
@click.option("--to", "target", required=True, help="A file that is not there, or an empty database; written alike.")
@click.option(
    "--without-responses", is_flag=True, help="Leave the stored answers: the next equal calls are paid again."
)
def copying(source: str, target: str, *, without_responses: bool) -> None:
    """Move a ledger to another file or server: exit 0 it is whole, 3 the old one is broken, 4 refused or cut off.

    No service may use it meanwhile. Cut off, the same command goes on where it was. The old ledger stays as it is.
    """
    source, target = _said(source), _said(target)
    from rich.console import Console

    try:
        with shown(Console(stderr=True)) as tell:
            copied = copy_ledger(source, target, now_ms=now_ms(), with_answers=not without_responses, on_step=tell)
    except SourceBroken as broken:
        print_findings(broken.findings)
        failing("nothing was copied: the old ledger is broken", status=BROKEN)
    except (NotALedger, CopyRefused, Unreadable) as error:
        failing(str(error), status=UNREADABLE)
    _tell(copied, source, target)


def _said(url: str) -> str:
    """An address, which may hold a password that is not for every process list: then it is kept in the environment."""
    if not url.startswith("$"):
        return url
    name = url[1:].strip("{}")
    return os.environ.get(name) or failing(f"{name} is not set", status=2)


def _tell(copied: Copied, source: str, target: str) -> None:
    rate = copied.calls / copied.copying_s if copied.copying_s else 0
    rest = "the rest of a copy that was cut off, " if copied.went_on else ""
    click.echo(
        f"copied: {rest}{copied.rows:,} rows, {copied.calls:,} calls, in {copied.copying_s:,.1f} s "
        f"({rate:,.0f} calls/s); compared row by row"
    )
    print_findings(copied.findings)
    if copied.keys:
        click.echo(
            f"note: {copied.keys:,} API keys are checked with a pepper that no ledger holds: {_pepper(source, target)}"
        )
    click.echo("note: start no service on the old one any more: what it spends would be missing in the new one")


def _pepper(source: str, target: str) -> str:
    kept = f"${VARIABLE}"
    if (
        not os.environ.get(VARIABLE)
        and not is_on_server(source)
        and (file := path_of(source).with_name(FILE)).is_file()
    ):
        kept = f"what {file} holds"
    if is_on_server(target):
        return f"give each service on the new one {kept} as ${VARIABLE}"
    return f"give the service on the new one {kept} as ${VARIABLE}, or in {path_of(target).with_name(FILE)}"


@contextmanager
def shown(console: "Console") -> Iterator[Callable[[Step], None]]:
    """Say how far it is: a bar where people look, else a line now and then."""
    if not console.is_terminal:
        yield _line_by_line()
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("looking", total=None)
        phase = ""

        def tell(step: Step) -> None:
            nonlocal phase
            if phase != (phase := step.what.split()[0]):
                bar.reset(task)
            bar.update(task, description=step.what, completed=step.done, total=step.total or None)

        yield tell


def _line_by_line() -> Callable[[Step], None]:
    told, at_s = "", 0.0

    def tell(step: Step) -> None:
        nonlocal told, at_s
        what = step.what.partition(":")[0]
        if what == told and time.monotonic() < at_s + TOLD_EACH_S:
            return
        told, at_s = what, time.monotonic()
        click.echo(f"{what}: {step.done:,} of {step.total:,} rows" if step.total else what, err=True)

    return tell
