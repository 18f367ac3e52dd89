"""Billable token counts, in disjoint classes."""

from collections.abc import Iterable
from typing import Self

import msgspec


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """What one answer used, in tokens. The classes are disjoint: their sum is all tokens.

    input, cached, output: text, and all that has no class of its own here, or that a provider does not count apart.
    cache_write: what a cache took for five minutes, or for the one time that the provider sells.
    A provider that said nothing has no Usage (None), never one of zeros.
    """

    input_tokens: int = 0
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0
    # New ones go to the end, for ledgers and chains have them in this order.
    cache_write_1h_tokens: int = 0
    input_audio_tokens: int = 0
    cached_audio_tokens: int = 0
    input_image_tokens: int = 0
    output_audio_tokens: int = 0
    output_image_tokens: int = 0

    def __post_init__(self) -> None:
        if min(self.counts) < 0:
            raise ValueError(f"a count is negative: {self}")

    @classmethod
    def of(
        cls,
        prompt: int,
        completion: int,
        *,
        cached: int = 0,
        cache_write: int = 0,
        reasoning: int = 0,
        audio: int = 0,
        cached_audio: int | None = None,
        image: int = 0,
        output_audio: int = 0,
        output_image: int = 0,
    ) -> Self:
        """From totals that include their parts, as providers report them; the classes sum to the totals.

        audio, image: parts of the prompt that may be among the cached and newly cached ones too. cached_audio None:
        nobody said how many; then caches hold text first, which never makes a call too cheap. Raises ValueError where
        parts are more than their whole.
        """
        if audio + image > prompt or (cached_audio or 0) > min(audio, cached):
            raise ValueError("the parts are more than the prompt")
        fresh = prompt - cached - cache_write
        heard = min(audio - (cached_audio or 0), fresh)
        seen = min(image, fresh - heard)
        if cached_audio is None:
            cached_audio = min(audio - heard, cached)
        return cls(
            input_tokens=fresh - heard - seen,
            cached_tokens=cached - cached_audio,
            cache_write_tokens=cache_write,
            output_tokens=completion - reasoning - output_audio - output_image,
            reasoning_tokens=reasoning,
            input_audio_tokens=heard,
            cached_audio_tokens=cached_audio,
            input_image_tokens=seen,
            output_audio_tokens=output_audio,
            output_image_tokens=output_image,
        )

    @classmethod
    def of_counts(cls, counts: Iterable[int]) -> Self:
        """From the classes in the order of the fields."""
        return cls(**dict(zip(cls.__struct_fields__, counts, strict=True)))

    @property
    def counts(self) -> tuple[int, ...]:
        """The classes, in the order of the fields."""
        return msgspec.structs.astuple(self)

    @property
    def prompt_tokens(self) -> int:
        """All that was read: fresh, cached and newly cached, of any kind."""
        return (
            self.input_tokens
            + self.input_audio_tokens
            + self.input_image_tokens
            + self.cached_tokens
            + self.cached_audio_tokens
            + self.cache_write_tokens
            + self.cache_write_1h_tokens
        )

    @property
    def completion_tokens(self) -> int:
        """All that was written, reasoning included, of any kind."""
        return self.output_tokens + self.reasoning_tokens + self.output_audio_tokens + self.output_image_tokens

    @property
    def cache_read_tokens(self) -> int:
        """All that came from the provider's cache, of any kind."""
        return self.cached_tokens + self.cached_audio_tokens

    @property
    def cache_written_tokens(self) -> int:
        """All that the provider's cache took, for however long."""
        return self.cache_write_tokens + self.cache_write_1h_tokens

    @property
    def tokens(self) -> int:
        """All that was read and written."""
        return self.prompt_tokens + self.completion_tokens
