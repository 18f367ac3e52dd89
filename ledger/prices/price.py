"""One price, and the cost of usage at it."""

from functools import cached_property
from typing import Final

import msgspec

from ledger.money import cost_nanousd
from ledger.usage import Usage


class Charge(msgspec.Struct, frozen=True, kw_only=True):
    """One part of a cost. of: a class of tokens, or `request`, which has neither tokens nor a rate."""

    of: str
    tokens: int | None
    nanousd_per_mtok: int | None
    cost_nanousd: int


class Kinds(msgspec.Struct, frozen=True, kw_only=True):
    """Which classes with rates of their own, besides those of text, a call may use. Not known: all of them."""

    caches_1h: bool = True
    hears: bool = True
    sees: bool = True
    speaks: bool = True
    draws: bool = True


ANY_KIND: Final = Kinds()
# What people call the classes, in the order of `Usage.counts`.
_CLASSES: Final = (
    "input", "cached input", "cache write", "output", "reasoning", "cache write for 1 h", "input audio", "cached audio",
    "input image", "output audio", "output image",
)  # fmt: skip


class Tier(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, dict=True):
    """Nano-dollars per million tokens of each class. None: the class costs what its wider class costs.

    The wider class is: cache_write of cache_write_1h, cached_input of cached_audio, else input or output.
    """

    input: int = 0
    cached_input: int | None = None
    cache_write: int | None = None
    output: int = 0
    reasoning: int | None = None
    cache_write_1h: int | None = None
    input_audio: int | None = None
    cached_audio: int | None = None
    input_image: int | None = None
    output_audio: int | None = None
    output_image: int | None = None

    @cached_property
    def rates(self) -> tuple[int, ...]:
        """What each class costs, in the order of `Usage.counts`."""
        cached = self.input if self.cached_input is None else self.cached_input
        write = self.input if self.cache_write is None else self.cache_write
        return (
            self.input,
            cached,
            write,
            self.output,
            self.output if self.reasoning is None else self.reasoning,
            write if self.cache_write_1h is None else self.cache_write_1h,
            self.input if self.input_audio is None else self.input_audio,
            cached if self.cached_audio is None else self.cached_audio,
            self.input if self.input_image is None else self.input_image,
            self.output if self.output_audio is None else self.output_audio,
            self.output if self.output_image is None else self.output_image,
        )

    def cost_nanousd(self, usage: Usage) -> int:
        """Each class rounded up by itself, then added up."""
        total = 0
        for tokens, rate in zip(usage.counts, self.rates, strict=True):
            if tokens:
                total += cost_nanousd(tokens, rate)
        return total

    def explain(self, usage: Usage) -> tuple[Charge, ...]:
        """The parts of `cost_nanousd`, one for each class of which there are any tokens."""
        return tuple(
            Charge(of=of, tokens=tokens, nanousd_per_mtok=rate, cost_nanousd=cost_nanousd(tokens, rate))
            for of, tokens, rate in zip(_CLASSES, usage.counts, self.rates, strict=True)
            if tokens
        )

    def dearest_input(self, kinds: Kinds) -> int:
        """The most that a token read can cost, in a call of these kinds."""
        return max(
            self.input,
            self.cached_input or 0,
            self.cache_write or 0,
            (kinds.caches_1h and self.cache_write_1h) or 0,
            (kinds.hears and max(self.input_audio or 0, self.cached_audio or 0)) or 0,
            (kinds.sees and self.input_image) or 0,
        )

    def dearest_output(self, kinds: Kinds) -> int:
        """The most that a token written can cost, in a call of these kinds."""
        return max(
            self.output,
            self.reasoning or 0,
            (kinds.speaks and self.output_audio) or 0,
            (kinds.draws and self.output_image) or 0,
        )


_NOTHING: Final = Tier()


class Price(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, dict=True):
    """What a deployment charges, from one version of one source.

    A prompt longer than `tiers[i][0]` tokens is charged whole at `tiers[i][1]` (the cliff that providers publish);
    thresholds ascend. per_request_nanousd is charged once for each answer.
    """

    version: str
    base: Tier
    tiers: tuple[tuple[int, Tier], ...] = ()
    per_request_nanousd: int = 0

    @cached_property
    def is_free(self) -> bool:
        """True where nothing it could charge for costs anything."""
        return not self.tiers and not self.per_request_nanousd and self.base == _NOTHING

    @cached_property
    def by_kind(self) -> bool:
        """Whether some kind of token that not every call uses has a rate of its own."""
        return any(
            rate is not None
            for tier in (self.base, *(dearer for _, dearer in self.tiers))
            for rate in (
                tier.cache_write_1h, tier.input_audio, tier.cached_audio, tier.input_image, tier.output_audio,
                tier.output_image,
            )
        )  # fmt: skip

    def tier_for(self, prompt_tokens: int) -> Tier:
        """The tier that a prompt of this length falls into."""
        tier = self.base
        for threshold, dearer in self.tiers:
            if prompt_tokens > threshold:
                tier = dearer
        return tier

    def cost_nanousd(self, usage: Usage) -> int:
        """What this usage costs, each class rounded up by itself."""
        return self.per_request_nanousd + self.tier_for(usage.prompt_tokens).cost_nanousd(usage)

    def threshold_for(self, prompt_tokens: int) -> int | None:
        """The prompt's length beyond which the tier that it falls into begins. None: it is the base tier."""
        passed = [threshold for threshold, _ in self.tiers if prompt_tokens > threshold]
        return passed[-1] if passed else None

    def explain(self, usage: Usage) -> tuple[Charge, ...]:
        """What `cost_nanousd` is made of; the parts sum to it. What is not there is left out."""
        charges = self.tier_for(usage.prompt_tokens).explain(usage)
        if not self.per_request_nanousd:
            return charges
        request = Charge(of="request", tokens=None, nanousd_per_mtok=None, cost_nanousd=self.per_request_nanousd)
        return (*charges, request)

    def bound_nanousd(self, prompt_tokens: int, completion_tokens: int, kinds: Kinds = ANY_KIND) -> int:
        """What a hold takes for a call that reads and writes at most this much, at the dearest class and tier."""
        tiers = [self.base, *(dearer for threshold, dearer in self.tiers if prompt_tokens > threshold)]
        return self.per_request_nanousd + max(
            cost_nanousd(prompt_tokens, tier.dearest_input(kinds))
            + cost_nanousd(completion_tokens, tier.dearest_output(kinds))
            for tier in tiers
        )
