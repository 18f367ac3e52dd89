"""Billable tokens from what Anthropic's Messages API says of usage, at the begin of an answer and at its end. Pure."""

from typing import Any, Final

from ledger.usage import Usage

MAX_TOKENS: Final = 10**9
_COUNTS: Final = ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens", "output_tokens")
_CACHE_LIVES: Final = ("ephemeral_5m_input_tokens", "ephemeral_1h_input_tokens")


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
        for name in _COUNTS:
            self._take(name, said.get(name))
        lives = said.get("cache_creation")
        if isinstance(lives, dict):
            for name in _CACHE_LIVES:
                self._take(name, lives.get(name))
        details = said.get("output_tokens_details")
        thinking = details.get("thinking_tokens") if isinstance(details, dict) else None
        self._take("thinking_tokens", thinking)

    def usage(self) -> Usage | None:
        """Of the whole answer, in our classes. None: the provider did not say, or said what cannot be.

        Input excludes what caches read and wrote; output includes thinking. Calls of the vendor's own tools, counted
        in `server_tool_use`, are no tokens.
        """
        return self.so_far() if self._is_final else None

    def so_far(self) -> Usage | None:
        """The same of what came until now; its output may be no more than the beginning."""
        counts = self._counts
        if not (self._is_believable and {"input_tokens", "output_tokens"} <= counts.keys()):
            return None
        reasoning = min(counts.get("thinking_tokens", 0), counts["output_tokens"])
        short, long = (counts.get(name, 0) for name in _CACHE_LIVES)
        written = counts.get("cache_creation_input_tokens", short + long)
        if short + long > written:
            return None
        if long:
            # The total may have grown since the lives were told. What it has beyond them may be of the dearer one.
            long = written - short
        return Usage(
            input_tokens=counts["input_tokens"],
            cached_tokens=counts.get("cache_read_input_tokens", 0),
            cache_write_tokens=written - long,
            cache_write_1h_tokens=long,
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
