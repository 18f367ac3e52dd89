"""Billable tokens from what Anthropic's Messages API says of usage, at the begin of an answer and at its end. Pure."""

from typing import Any, Final

from ledger.usage import Usage

MAX_TOKENS: Final = 10**9
_COUNTS: Final = ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens", "output_tokens")
_CACHE_LIVES: Final = ("ephemeral_5m_input_tokens", "ephemeral_1h_input_tokens")
# How the names of counts end, and of what they are made up of.
TOKENS: Final = ("_tokens", "_tokens_details", "cache_creation")
# Steps of an answer whose tokens are not among the answer's own: summaries of its context, advice of another model.
# Source: anthropic-sdk-python's `BetaUsage`; platform.claude.com/docs, "Compaction", "Advisor tool".
_BESIDE: Final = ("compaction", "advisor_message")
# Whatever else there may be (a model that took over, say) has a price that is not known here.
_OF_THIS_MODEL: Final = ("message", "compaction")


class Counts:
    """What was counted so far. Counts are of all so far, and never shrink: a later 0 only repeats nothing.

    told: {name: count, or its parts} of the answer's own, as they were said.
    is_of_one_model: whether its model's price is that of all of them, as far as is known.
    """

    def __init__(self) -> None:
        self.told: dict[str, Any] = {}
        self.is_of_one_model = True
        self._beside: tuple[Usage, ...] = ()
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
        self._take_steps(said.get("iterations"))
        for name, value in said.items():
            if name.endswith(TOKENS) and (value or name not in self.told):
                self.told[name] = value

    @property
    def has_more(self) -> bool:
        """Whether it took more than is counted as the answer's own."""
        return bool(self._beside)

    def usage(self) -> Usage | None:
        """Of the whole answer, in our classes. None: the provider did not say, or said what cannot be.

        Input excludes what caches read and wrote; output includes thinking. Calls of the vendor's own tools, counted
        in `server_tool_use`, are no tokens.
        """
        return self.so_far() if self._is_final else None

    def so_far(self) -> Usage | None:
        """The same of what came until now; its output may be no more than the beginning."""
        own = self._own()
        return None if own is None else _sum((own, *self._beside))

    def _own(self) -> Usage | None:
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

    def _take_steps(self, said: Any) -> None:
        """What the answer was made in. Each list is of all so far."""
        if said is None:
            return
        steps = said if isinstance(said, list) else [said]
        kinds = [step.get("type") if isinstance(step, dict) else None for step in steps]
        self.is_of_one_model = all(kind in _OF_THIS_MODEL for kind in kinds)
        beside = [_of_step(step) for step, kind in zip(steps, kinds, strict=True) if kind in _BESIDE]
        self._beside = tuple(usage for usage in beside if usage is not None)
        self._is_believable = self._is_believable and None not in beside


def _of_step(step: dict[str, Any]) -> Usage | None:
    counts = Counts()
    counts.add({**step, "iterations": None}, is_final=True)
    return counts.usage()


def _sum(usages: tuple[Usage, ...]) -> Usage:
    return usages[0] if len(usages) == 1 else Usage.of_counts(map(sum, zip(*(it.counts for it in usages), strict=True)))
