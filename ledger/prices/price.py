"""One price, and the cost of usage at it."""

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


class Tier(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Nano-dollars per million tokens of each class. None: the class costs what its wider class costs."""

    input: int = 0
    cached_input: int | None = None
    cache_write: int | None = None
    output: int = 0
    reasoning: int | None = None

    def cost_nanousd(self, usage: Usage) -> int:
        """Each class rounded up by itself, then added up."""
        cached = self.input if self.cached_input is None else self.cached_input
        write = self.input if self.cache_write is None else self.cache_write
        reasoning = self.output if self.reasoning is None else self.reasoning
        return (
            cost_nanousd(usage.input_tokens, self.input)
            + cost_nanousd(usage.cached_tokens, cached)
            + cost_nanousd(usage.cache_write_tokens, write)
            + cost_nanousd(usage.output_tokens, self.output)
            + cost_nanousd(usage.reasoning_tokens, reasoning)
        )

    def explain(self, usage: Usage) -> tuple[Charge, ...]:
        """The parts of `cost_nanousd`, one for each class of which there are any tokens."""
        classes = (
            ("input", usage.input_tokens, self.input),
            ("cached input", usage.cached_tokens, self.input if self.cached_input is None else self.cached_input),
            ("cache write", usage.cache_write_tokens, self.input if self.cache_write is None else self.cache_write),
            ("output", usage.output_tokens, self.output),
            ("reasoning", usage.reasoning_tokens, self.output if self.reasoning is None else self.reasoning),
        )
        return tuple(
            Charge(of=of, tokens=tokens, nanousd_per_mtok=rate, cost_nanousd=cost_nanousd(tokens, rate))
            for of, tokens, rate in classes
            if tokens
        )

    @property
    def dearest_input(self) -> int:
        """The most that a token read can cost."""
        return max(self.input, self.cached_input or 0, self.cache_write or 0)

    @property
    def dearest_output(self) -> int:
        """The most that a token written can cost."""
        return max(self.output, self.reasoning or 0)


_NOTHING: Final = Tier()


class Price(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a deployment charges, from one version of one source.

    A prompt longer than `tiers[i][0]` tokens is charged whole at `tiers[i][1]` (the cliff that providers publish);
    thresholds ascend. per_request_nanousd is charged once for each answer.
    """

    version: str
    base: Tier
    tiers: tuple[tuple[int, Tier], ...] = ()
    per_request_nanousd: int = 0

    @property
    def is_free(self) -> bool:
        """True where nothing it could charge for costs anything."""
        return not self.tiers and not self.per_request_nanousd and self.base == _NOTHING

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

    def bound_nanousd(self, prompt_tokens: int, completion_tokens: int) -> int:
        """What a hold takes for a call that reads and writes at most this much, at the dearest class and tier."""
        tiers = [self.base, *(dearer for threshold, dearer in self.tiers if prompt_tokens > threshold)]
        return self.per_request_nanousd + max(
            cost_nanousd(prompt_tokens, tier.dearest_input) + cost_nanousd(completion_tokens, tier.dearest_output)
            for tier in tiers
        )
