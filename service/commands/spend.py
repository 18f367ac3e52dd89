"""`farthing spend`."""

from typing import Any, Final

import click

from ledger.reports import SpendQuery
from service.commands.reports import Kind, Options, report_options, show_report
from service.commands.sparks import Figure
from service.commands.tables import spend_table

SPEND: Final = Kind(
    query=SpendQuery,
    read=lambda reports, query: reports.spend(query),
    table=spend_table,
    figure=Figure("cost", lambda row: row["cost_nanousd"], sum),
)


@click.command()
@report_options
def spend(**given: Any) -> None:
    """What was spent, by model, provider, key, team, user, workflow, run, route, hour, day, month, basis or outcome."""
    show_report(SPEND, Options(**given))
