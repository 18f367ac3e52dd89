"""What the generations of Claude take, by the version in their names: it decides how a request must be written. Pure.

Source: platform.claude.com/docs, "Migrating to Claude 4.6 / 4.7", "Extended thinking", "Structured outputs"; seen
November 2026. A name without a version (a proxy's, another vendor's) is taken to know what most servers know.
"""

import functools
import re
from typing import Final

import msgspec

# claude-3-7-sonnet-20250219, claude-opus-4-20250514, anthropic.claude-sonnet-4.5: never a date for a version.
_VERSION: Final = re.compile(r"claude-(?:[a-z]+-)?(\d{1,2})(?:[-.](\d{1,2}))?(?!\d)")


class Model(msgspec.Struct, frozen=True, kw_only=True):
    """One generation.

    thinks: at all. takes_budget: a number of tokens to think; is_adaptive: an effort instead. samples_by_itself: takes
    no temperature, top_p or top_k. takes_one_of_two: temperature or top_p. takes_schemas: for answers, and strictly
    for tools.
    """

    thinks: bool = True
    takes_budget: bool = True
    is_adaptive: bool = False
    takes_xhigh: bool = False
    samples_by_itself: bool = False
    takes_one_of_two: bool = False
    takes_schemas: bool = False


@functools.lru_cache(maxsize=1024)
def model_of(name: str) -> Model:
    """What the model of this name takes."""
    found = _VERSION.search(name)
    if found is None:
        return Model()
    version = int(found[1]), int(found[2] or 0)
    return Model(
        thinks=version >= (3, 7),
        takes_budget=(3, 7) <= version < (4, 7),
        is_adaptive=version >= (4, 6),
        takes_xhigh=version >= (4, 7),
        samples_by_itself=version >= (4, 7),
        takes_one_of_two=version >= (4, 1),
        takes_schemas=version >= (4, 5),
    )
