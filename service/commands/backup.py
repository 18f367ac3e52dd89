"""`farthing backup`."""

from pathlib import Path

import click

from ledger.errors import BackupFailed
from ledger.upkeep import backup_ledger
from ledger.verify import Unreadable
from service.commands.failing import failing, load_ledger_or_exit, progress
from service.commands.verify import BROKEN, UNREADABLE, print_findings


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--config", "path", help="The config file; else $FARTHING_CONFIG, else ./farthing.toml, else none.")
def backup(file: Path, path: str | None) -> None:
    """Copy the ledger to FILE and audit the copy: exit 0 clean, 3 a rule is broken, 4 no copy. Safe while serving."""
    config = load_ledger_or_exit(path)
    try:
        with progress("backup") as tell:
            findings = backup_ledger(config.ledger.url, file, on_step=tell)
    except (Unreadable, BackupFailed) as error:
        failing(str(error), status=UNREADABLE)
    print_findings(findings)
    click.echo(f"{file}: {file.stat().st_size:,} bytes")
    if findings.violations:
        raise SystemExit(BROKEN)
