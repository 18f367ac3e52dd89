"""`farthing verify`."""

from typing import Final

import click
import msgspec

from ledger.verify import Findings, NoSuchLine, Unreadable, verify_ledger
from service.commands.failing import failing, load_ledger_or_exit, progress

SINCE_WRONG: Final = 2
BROKEN: Final = 3
UNREADABLE: Final = 4


@click.command()
@click.option("--config", "path", help="The config file; else $FARTHING_CONFIG, else ./farthing.toml, else none.")
@click.option("--since", type=click.IntRange(0), help="Trust the lines up to this number; look at those after it.")
@click.option("--json", "as_json", is_flag=True, help="A JSON line for each broken rule, then one with the counts.")
def verify(path: str | None, since: int | None, *, as_json: bool) -> None:
    """Audit the ledger, read-only, also while the service runs.

    Exit 0 clean, 2 there is no line to begin after, 3 a rule is broken, 4 unreadable.
    """
    config = load_ledger_or_exit(path)
    try:
        with progress("checking", is_on=not as_json) as tell:
            findings = verify_ledger(config.ledger.url, on_rule=tell, since=since)
    except NoSuchLine as error:
        failing(f"{error}; without --since all lines are looked at", status=SINCE_WRONG)
    except Unreadable as error:
        failing(str(error), status=UNREADABLE)
    if as_json:
        for violation in findings.violations:
            click.echo(msgspec.json.encode(violation))
        counts = msgspec.structs.asdict(findings) | {"violations": len(findings.violations)}
        click.echo(msgspec.json.encode(counts))
    else:
        print_findings(findings)
    if findings.violations:
        raise SystemExit(BROKEN)


def print_findings(findings: Findings) -> None:
    """Each broken rule with its rows, then the verdict."""
    for violation in findings.violations:
        click.echo(f"BROKEN  {violation.rule}: {violation.count} rows")
        for row in violation.rows:
            click.echo(f"        {msgspec.json.encode(row).decode()}")
    if findings.unpriced:
        click.echo(f"note: {findings.unpriced:,} lines name a price that is not on record: their cost was not checked")
    verdict = "clean" if not findings.violations else f"{len(findings.violations)} rules broken"
    click.echo(f"{verdict}: {findings.rules} rules over {findings.postings:,} postings and {findings.holds:,} holds")
    click.echo(f"line {findings.last_seq:,} has digest {findings.last_digest}")
