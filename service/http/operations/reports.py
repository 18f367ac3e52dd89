"""What readers ask of the ledger."""

from typing import Final

from ledger.reports import LATENCY_DIMENSIONS, SPEND_DIMENSIONS
from service.http.operations.operation import Operation
from service.http.operations.report_examples import ALERTS, SPENT, TOOK

_WINDOW: Final = ("since", "until", "group_by", "format")

REPORTS: Final = (
    Operation(
        method="get",
        role="reader",
        path="/ledger/spend",
        path_example="/ledger/spend?group_by=model",
        summary="What was spent, on what, by whom; with `top`, so many names apart and null for all others together",
        example=SPENT,
        varying=("rows",),
        query=(*_WINDOW, "top", *SPEND_DIMENSIONS),
        other_media_types=("text/csv",),
    ),
    Operation(
        method="get",
        role="reader",
        path="/ledger/latency",
        path_example="/ledger/latency?group_by=model",
        summary="How long it took, in quantiles",
        example=TOOK,
        varying=("rows",),
        query=(*_WINDOW, *LATENCY_DIMENSIONS),
        other_media_types=("text/csv",),
    ),
    Operation(
        method="get",
        role="reader",
        path="/ledger/generations",
        summary="Calls, newest first; `next` goes on as `before`; filters as of the spend report",
        query=("since", "until", "limit", "before", *SPEND_DIMENSIONS),
    ),
    Operation(
        method="get",
        role="reader",
        path="/ledger/generations/{id}",
        summary="Every attempt, hold and posting of one call, its arithmetic from tokens to dollars",
        errors={404: "not_found"},
    ),
    Operation(
        method="get",
        path="/ledger/ceilings",
        role="reader",
        summary="Limit, spent, held, what of that are slices, and room of every ceiling; with `top`, of the fullest",
        query=("top",),
    ),
    Operation(
        method="get",
        role="reader",
        path="/alerts",
        path_example="/alerts?type=ceiling.*&state=open",
        summary="What people are told of, newest first, and how its delivery stands; `next` goes on as `before`",
        example=ALERTS,
        varying=("facts",),
        query=("since", "until", "type", "state", "limit", "before"),
    ),
)
