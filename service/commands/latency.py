"""`farthing latency`."""

from typing import cast

import click

from ledger.reports import LatencyQuery
from service.commands.reports import make_query, print_report, report_options
from service.commands.tables import latency_table


@click.command()
@report_options
def latency(path: str | None, by: str, since: str | None, until: str | None, *, as_json: bool, as_csv: bool) -> None:
    """How long answers took, by model, provider, hour, day or month."""
    query = cast("LatencyQuery", make_query(LatencyQuery, by, since, until))
    print_report(path, lambda reports: reports.latency(query), latency_table, as_json=as_json, as_csv=as_csv)
