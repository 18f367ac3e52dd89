"""What may be asked of the reports. Moments are milliseconds UTC; since is included, until is not; None: no bound."""

from typing import Final

import msgspec

SPEND_DIMENSIONS: Final = (
    "model",
    "provider",
    "key",
    "team",
    "user",
    "workflow",
    "run",
    "route",
    "hour",
    "day",
    "month",
    "basis",
    "outcome",
)
LATENCY_DIMENSIONS: Final = ("model", "provider", "hour", "day", "month")


class SpendQuery(msgspec.Struct, frozen=True, kw_only=True):
    """group_by and filters use the names in SPEND_DIMENSIONS; every row matches all filters exactly."""

    since_ms: int | None = None
    until_ms: int | None = None
    group_by: tuple[str, ...] = ()
    filters: dict[str, str] = {}


class LatencyQuery(msgspec.Struct, frozen=True, kw_only=True):
    """group_by and filters use the names in LATENCY_DIMENSIONS."""

    since_ms: int | None = None
    until_ms: int | None = None
    group_by: tuple[str, ...] = ()
    filters: dict[str, str] = {}
