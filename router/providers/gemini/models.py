"""What the generations of Gemini take, by the version in their names: it decides how thinking is asked for. Pure.

Source: ai.google.dev/gemini-api/docs: "Thinking", "Gemini 3", "OpenAI compatibility", "Structured outputs"; seen
November 2026. A name without a version (`gemini-flash-latest`, a proxy's) is taken to be of a budget's generation:
newer ones understand a budget too.
"""

import functools
import re
from typing import Final

import msgspec

_VERSION: Final = re.compile(r"gemini-(\d{1,2})(?:\.(\d{1,2}))?(?!\d)")
# Tokens to think, as Google's own OpenAI-compatible endpoint has them.
_BUDGETS: Final = {"minimal": 1024, "low": 1024, "medium": 8192, "high": 24_576, "xhigh": 24_576, "max": 24_576}
_LEVELS: Final = {
    "minimal": "minimal",
    "low": "low",
    "medium": "medium",
    "high": "high",
    "xhigh": "high",
    "max": "high",
}
_PRO_LEVELS: Final = {**_LEVELS, "minimal": "low"}
_FIRST_PRO_LEVELS: Final = {**_PRO_LEVELS, "medium": "high"}


class Model(msgspec.Struct, frozen=True, kw_only=True):
    """One generation.

    thinks: at all. can_rest: thinking can be switched off. levels: {effort: the level that is nearest}; None: it is
    told a number of tokens. joins_tools_and_schemas: takes both in one call. needs_signatures: refuses to go on after a
    tool call whose thoughts' signature was not sent back.
    """

    thinks: bool = True
    can_rest: bool = True
    levels: dict[str, str] | None = None
    joins_tools_and_schemas: bool = False
    needs_signatures: bool = False

    def thinking_for(self, effort: object) -> dict[str, object] | None:
        """What to ask for so that it thinks with this effort. None: it cannot be asked for that."""
        if not isinstance(effort, str) or not self.thinks:
            return None
        if effort == "none":
            return {"thinkingBudget": 0} if self.can_rest else None
        if self.levels is not None:
            level = self.levels.get(effort)
            return None if level is None else {"thinkingLevel": level}
        budget = _BUDGETS.get(effort)
        return None if budget is None else {"thinkingBudget": budget}


@functools.lru_cache(maxsize=1024)
def model_of(name: str) -> Model:
    """What the model of this name takes."""
    found = _VERSION.search(name)
    if found is None:
        return Model()
    version, is_pro = (int(found[1]), int(found[2] or 0)), "pro" in name
    if version < (3, 0):
        return Model(thinks=version >= (2, 5), can_rest=not is_pro)
    levels = _LEVELS
    if is_pro:
        levels = _FIRST_PRO_LEVELS if version == (3, 0) else _PRO_LEVELS
    return Model(can_rest=False, levels=levels, joins_tools_and_schemas=True, needs_signatures=True)
