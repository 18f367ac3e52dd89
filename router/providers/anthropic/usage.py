"""Billable tokens from what Anthropic's Messages API says of usage, at the begin of an answer and at its end. Pure."""

from typing import Any, Final

from ledger.usage import Usage

MAX_TOKENS: Final = 10**9
_INPUT: Final = ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")


class Counts:
    """What was counted so far. Counts are of all so far, and never shrink: a later 0 only repeats nothing."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}
        self._is_believable = True
        self._is_final = False

    def add(self, said: Any, *, is_final: bool) -> None:
        """Take in a usage object; None: there was none. is_final: its output is the whole answer's."""
        if said is None:
            return
        self._is_final = self._is_final or is_final
        if not isinstance(said, dict):
            self._is_believable = False
            return
        details = said.get("output_tokens_details")
        thinking = details.get("thinking_tokens") if isinstance(details, dict) else None
        self._take("thinking_tokens", thinking)
        for name in (*_INPUT, "output_tokens"):
            self._take(name, said.get(name))

    def usage(self) -> Usage | None:
        """In our classes. None: the provider did not say, or said what cannot be.

        Input excludes what caches read and wrote; short and long cache writes are one class. Output includes thinking.
        """
        counts = self._counts
        if not (self._is_believable and self._is_final and {"input_tokens", "output_tokens"} <= counts.keys()):
            return None
        reasoning = min(counts.get("thinking_tokens", 0), counts["output_tokens"])
        return Usage(
            input_tokens=counts["input_tokens"],
            cached_tokens=counts.get("cache_read_input_tokens", 0),
            cache_write_tokens=counts.get("cache_creation_input_tokens", 0),
            output_tokens=counts["output_tokens"] - reasoning,
            reasoning_tokens=reasoning,
        )

    def _take(self, name: str, count: Any) -> None:
        if count is None:
            return
        # By type, for True is an int too.
        if type(count) is int and 0 <= count <= MAX_TOKENS:
            self._counts[name] = max(count, self._counts.get(name, 0))
        else:
            self._is_believable = False
