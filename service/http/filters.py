"""What a report is narrowed to: one of a few values, a moment as reports write it, or any name.

Names are not checked: the ledger remembers models, users and keys that no config knows any more.
"""

from collections.abc import Mapping
from typing import Any, Final, get_args

from ledger.reports import MOMENT_LENGTHS, is_moment_of
from ledger.values import CostBasis
from router.faults import Outcome
from service.refusals import InvalidRequest
from service.strict_json import refuse_unknown

# An attempt or a call that has not ended yet is told as `open`.
CHOICES: Final[Mapping[str, tuple[str, ...]]] = {
    "outcome": (*(outcome.value for outcome in Outcome), "open"),
    "basis": get_args(CostBasis),
}
_EXAMPLES: Final = {"hour": "2026-11-21T09:00:00Z", "day": "2026-11-21", "month": "2026-11"}
# The same as JSON Schema.
SCHEMAS: Final[Mapping[str, dict[str, Any]]] = {
    **{name: {"enum": list(choices)} for name, choices in CHOICES.items()},
    **{name: {"type": "string", "examples": [example]} for name, example in _EXAMPLES.items()},
}


def read_filters(given: Mapping[str, str], dimensions: tuple[str, ...]) -> dict[str, str]:
    """Those of the parameters that narrow a report. Raises InvalidRequest for a value that nothing could ever match."""
    filters = {name: value for name, value in given.items() if name in dimensions}
    for name, value in filters.items():
        if name in CHOICES:
            refuse_unknown([value], CHOICES[name], name, where=name)
        elif name in MOMENT_LENGTHS and not is_moment_of(name, value):
            raise InvalidRequest(f"must be as reports write it, like {_EXAMPLES[name]}", where=name)
    return filters
