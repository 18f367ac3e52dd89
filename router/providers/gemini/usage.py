"""Billable tokens from what the Gemini API says of usage, with every event anew. Pure."""

from typing import Any, Final

from ledger.usage import Usage

MAX_TOKENS: Final = 10**9
_COUNTS: Final = (
    "promptTokenCount",
    "cachedContentTokenCount",
    "toolUsePromptTokenCount",
    "candidatesTokenCount",
    "thoughtsTokenCount",
    "totalTokenCount",
)


class Counts:
    """What was counted so far. Counts are of all so far, and never shrink: a later event may leave some out."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}
        self._is_believable = True

    def add(self, said: Any) -> None:
        """Take in a `usageMetadata`; None: there was none."""
        if said is None:
            return
        if not isinstance(said, dict):
            self._is_believable = False
            return
        for name in _COUNTS:
            count = said.get(name)
            if count is None:
                continue
            # By type, for True is an int too.
            if type(count) is int and 0 <= count <= MAX_TOKENS:
                self._counts[name] = max(count, self._counts.get(name, 0))
            else:
                self._is_believable = False

    def usage(self) -> Usage | None:
        """In our classes. None: the provider did not say, or said what cannot be.

        The prompt includes what was cached, the candidates do not include thoughts, and what tools of the vendor's own
        read is counted apart from both. A count of zero is left out there.
        """
        if not self._is_believable or "promptTokenCount" not in self._counts:
            return None
        prompt, cached, tools, written, thought, total = (self._counts.get(name, 0) for name in _COUNTS)
        if cached > prompt:
            return None
        if thought and total == prompt + tools + written and thought <= written:
            # Some models have counted their thoughts among the candidates' words; the total shows it.
            written -= thought
        return Usage(
            input_tokens=prompt - cached + tools, cached_tokens=cached, output_tokens=written, reasoning_tokens=thought
        )
