"""Billable token counts, in disjoint classes."""

from typing import Self

import msgspec


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """What one answer used, in tokens. The classes are disjoint: their sum is all tokens.

    A provider that said nothing has no Usage (None), never one of zeros.
    """

    input_tokens: int = 0
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            if getattr(self, name) < 0:
                raise ValueError(f"{name} is negative")

    @classmethod
    def of(cls, prompt: int, completion: int, *, cached: int = 0, reasoning: int = 0) -> Self:
        """From totals that include their parts, as the OpenAI formats report them."""
        return cls(
            input_tokens=prompt - cached,
            cached_tokens=cached,
            output_tokens=completion - reasoning,
            reasoning_tokens=reasoning,
        )

    @property
    def prompt_tokens(self) -> int:
        """All that was read: fresh, cached and newly cached."""
        return self.input_tokens + self.cached_tokens + self.cache_write_tokens

    @property
    def completion_tokens(self) -> int:
        """All that was written, reasoning included."""
        return self.output_tokens + self.reasoning_tokens
