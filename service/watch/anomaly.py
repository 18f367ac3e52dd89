"""A key's hour that cost far more than its hours do. Pure.

Far more: five times what 95 in a hundred of its active hours of the last two weeks stayed under, and a dollar at least.
A key with fewer than 24 active hours has no usual hour yet.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from ledger.ceilings import DAY_MS
from ledger.events import EventRaised
from ledger.money import NANOUSD_PER_USD, amount_fields
from ledger.reports import iso

HISTORY_MS: Final = 14 * DAY_MS
LEAST_HOURS: Final = 24
TIMES: Final = 5
FLOOR_NANOUSD: Final = NANOUSD_PER_USD


def usual_nanousd(past: Iterable[int]) -> int | None:
    """What 95 in a hundred active hours stayed at or under, of these hours' spend. None: they are too few to say."""
    hours = sorted(past)
    if len(hours) < LEAST_HOURS:
        return None
    return hours[-(-len(hours) * 95 // 100) - 1]


def is_unusual(nanousd: int, usual: int | None) -> bool:
    """Whether an hour that cost this is far above the usual."""
    return usual is not None and nanousd > max(TIMES * usual, FLOOR_NANOUSD)


def may_be_unusual(hours: Mapping[str, Mapping[int, int]]) -> bool:
    """Whether any of these, {key: {hour: nano-dollars}}, is worth a look at what is usual."""
    return any(nanousd > FLOOR_NANOUSD for spent in hours.values() for nanousd in spent.values())


def anomalies(
    hours: Mapping[str, Mapping[int, int]], usual: Mapping[str, int | None], *, now_ms: int
) -> Iterator[EventRaised]:
    """An event for each key and hour far above what is usual for the key. hours: {key: {hour: nano-dollars}}."""
    for key, spent in hours.items():
        usually = usual.get(key)
        for hour_ms, nanousd in spent.items():
            if usually is not None and is_unusual(nanousd, usually):
                amounts = amount_fields({"spent": nanousd, "usual": usually}, "usd")
                yield EventRaised(
                    type="spend.anomaly",
                    dedup_key=f"spend.anomaly {key} {hour_ms}",
                    at_ms=now_ms,
                    facts={"key": key, "hour": iso(hour_ms), **amounts},
                )
