"""`farthing verify`."""

from contextlib import nullcontext
from typing import Final

import click
import msgspec
from rich.console import Console

from ledger.verify import Findings, Unreadable, verify_ledger
from service.commands.failing import failing, load_or_exit

BROKEN: Final = 3
UNREADABLE: Final = 4


@click.command()
@click.option("--config", "path", help="The config file; else $FARTHING_CONFIG, else ./farthing.toml, else none.")
@click.option("--json", "as_json", is_flag=True, help="A JSON line for each broken rule, then one with the counts.")
def verify(path: str | None, *, as_json: bool) -> None:
    """Audit the ledger, read-only: exit 0 clean, 3 a rule is broken, 4 unreadable. Safe while the service runs."""
    config = load_or_exit(path)
    console = Console(stderr=True)
    try:
        with console.status("checking") if console.is_terminal and not as_json else nullcontext() as status:
            findings = verify_ledger(
                config.ledger.url, on_rule=lambda rule: None if status is None else status.update(rule)
            )
    except Unreadable as error:
        failing(str(error), status=UNREADABLE)
    if as_json:
        for violation in findings.violations:
            click.echo(msgspec.json.encode(violation))
        counts = {"rules": findings.rules, "postings": findings.postings, "holds": findings.holds}
        click.echo(msgspec.json.encode(counts | {"violations": len(findings.violations)}))
    else:
        _print(findings)
    if findings.violations:
        raise SystemExit(BROKEN)


def _print(findings: Findings) -> None:
    for violation in findings.violations:
        click.echo(f"BROKEN  {violation.rule}: {violation.count} rows")
        for row in violation.rows:
            click.echo(f"        {msgspec.json.encode(row).decode()}")
    verdict = "clean" if not findings.violations else f"{len(findings.violations)} rules broken"
    click.echo(f"{verdict}: {findings.rules} rules over {findings.postings:,} postings and {findings.holds:,} holds")
