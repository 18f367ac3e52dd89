"""`farthing spend`."""

from typing import cast

import click

from ledger.reports import SpendQuery
from service.commands.reports import make_query, print_report, report_options
from service.commands.tables import spend_table


@click.command()
@report_options
def spend(path: str | None, by: str, since: str | None, until: str | None, *, as_json: bool, as_csv: bool) -> None:
    """What was spent, by model, provider, key, team, user, workflow, run, route, hour, day, month, basis or outcome."""
    query = cast("SpendQuery", make_query(SpendQuery, by, since, until))
    print_report(path, lambda reports: reports.spend(query), spend_table, as_json=as_json, as_csv=as_csv)
