"""`farthing latency`."""

from typing import Any, Final

import click

from ledger.reports import LatencyQuery
from service.commands.reports import Kind, Options, report_options, show_report
from service.commands.sparks import Figure
from service.commands.tables import latency_table

LATENCY: Final = Kind(
    query=LatencyQuery,
    read=lambda reports, query: reports.latency(query),
    table=latency_table,
    # Of several hours' 95th percentiles the greatest is at least theirs together.
    figure=Figure("p95", lambda row: row["p95_ms"], max),
)


@click.command()
@report_options
def latency(**given: Any) -> None:
    """How long answers took, by model, provider, hour, day or month."""
    show_report(LATENCY, Options(**given))
