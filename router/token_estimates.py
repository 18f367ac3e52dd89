"""What a prompt comes to at a deployment, learned from what its provider said of earlier ones.

A count with our tokenizer is exact for few models. Others cut text differently, and add words of their own: to a call,
and to one with tools. So a deployment's count is taken to be a weighted sum of what can be counted here. The weights
are the least squares of its last answers, each in proportion: they start from our count, and trust no outlier.

An estimate stands on receipts and is charged where the provider did not say; what a hold takes is never learned.
"""

from collections.abc import Callable, Sequence
from operator import mul
from statistics import median
from typing import Final

import msgspec

from router.memory import Memory, SharedValues
from router.tokens import Prompt, Text

ESTIMATE: Final = "estimate"
# How many answers are remembered, of which deployments change their ways sooner or later.
REMEMBERED: Final = 32
# Fewer say too little, and the plain count stands.
ANSWERS_THAT_COUNT: Final = 5
SHARE_EVERY_MS: Final = 5_000
# By how much of itself the count of a call that is like the others may be off, and from where on it is an outlier.
USUAL_MISS: Final = 0.03
OUTLIER: Final = 0.1
ROUNDS: Final = 3

Weights = tuple[float, ...]
# What each part of a prompt adds in our count, and by how much a provider may differ: a call's own tokens, its schemas,
# that it has tools at all; of its text the tokens, the characters, the bytes beyond one a character, the digits.
PLAIN: Final[Weights] = (1.0, 1.0, 0.0, 1.0, 0.0, 0.0, 0.0)
SPREAD: Final[Weights] = (100.0, 0.7, 300.0, 0.7, 0.2, 0.3, 0.5)
# Where those of text begin.
_OF_TEXT: Final = 3
# No tokenizer is so different from ours.
_LEAST, _MOST = 0.2, 5.0


class Answered(msgspec.Struct, frozen=True, array_like=True):
    """One answered call: what was counted, what was estimated from that, and what the provider said it was."""

    prompt: Prompt
    estimated: int
    reported: int

    @property
    def error(self) -> float:
        """How far off the estimate was, as a part of what it should have been."""
        return abs(self.estimated - self.reported) / self.reported


class Known(msgspec.Struct, frozen=True, omit_defaults=True):
    """The last answers of one deployment, oldest first."""

    answers: tuple[Answered, ...] = ()


def after(known: Known, answers: Sequence[Answered]) -> Known:
    """What is known after these answers."""
    return Known((*known.answers, *answers)[-REMEMBERED:])


def weights_of(known: Known) -> Weights:
    """The weights that fit what is known best. Too little is known: those of the plain count."""
    if len(known.answers) < ANSWERS_THAT_COUNT:
        return PLAIN
    rows = [_row(it.prompt, it.reported) for it in known.answers]
    trust = [1.0] * len(rows)
    off: Sequence[float] = PLAIN
    for _ in range(ROUNDS):
        off = _fitted(rows, trust)
        misses = [abs(missing - _sum(off, shares)) for shares, missing in rows]
        trust = [1.0 if miss <= OUTLIER else OUTLIER / miss for miss in misses]
    return tuple(weight + change for weight, change in zip(PLAIN, off, strict=True))


def estimated_tokens(weights: Weights, prompt: Prompt) -> int:
    """What the provider will say of this prompt."""
    tokens = _sum(weights, _parts(prompt)) + prompt.images
    return max(round(tokens), round(_LEAST * prompt.tokens), 1)


def written_tokens(weights: Weights, written: Text) -> int:
    """What the provider would say of text that it wrote: it cuts that up like text that it reads."""
    tokens = _sum(weights[_OF_TEXT:], _parts_of(written))
    return round(min(max(tokens, _LEAST * written.tokens), _MOST * written.tokens))


def error_of(known: Known) -> float | None:
    """The median error of the estimates of the last calls, as a part of what was reported. None: there were none."""
    return round(median(it.error for it in known.answers), 4) if known.answers else None


def _parts(prompt: Prompt) -> Weights:
    return float(prompt.per_call), float(prompt.schemas), float(prompt.has_tools), *_parts_of(prompt.text)


def _parts_of(text: Text) -> Weights:
    return float(text.tokens), float(text.chars), float(text.more_bytes), float(text.digits)


def _sum(weights: Sequence[float], parts: Sequence[float]) -> float:
    added: float = sum(map(mul, weights, parts))
    return added


# The parts of a prompt, and what the plain count missed of it: both as shares of the whole.
_Row = tuple[Weights, float]


def _row(prompt: Prompt, reported: int) -> _Row:
    whole = max(reported, prompt.tokens)
    parts = _parts(prompt)
    return tuple(part / whole for part in parts), (reported - _sum(PLAIN, parts)) / whole


def _fitted(rows: Sequence[_Row], trust: Sequence[float]) -> list[float]:
    """By how much the weights are off PLAIN, with the least sum of squares: of misses, and of how far off they are."""
    size = len(PLAIN)
    matrix = [[1 / spread**2 if row == column else 0.0 for column in range(size)] for row, spread in enumerate(SPREAD)]
    right = [0.0] * size
    for (shares, missing), trusted in zip(rows, trust, strict=True):
        sureness = trusted / USUAL_MISS**2
        for row, share in enumerate(shares):
            if share:
                right[row] += sureness * share * missing
                for column in range(row + 1):
                    matrix[row][column] += sureness * share * shares[column]
    for row in range(size):
        for column in range(row):
            matrix[column][row] = matrix[row][column]
    return _solved(matrix, right)


def _solved(matrix: list[list[float]], right: list[float]) -> list[float]:
    """Gauss's elimination. No pivot is 0: the matrix is symmetric and positive definite by its diagonal."""
    rows = [[*row, value] for row, value in zip(matrix, right, strict=True)]
    for place, pivot in enumerate(rows):
        for row in rows[place + 1 :]:
            factor = row[place] / pivot[place]
            for column in range(place, len(row)):
                row[column] -= factor * pivot[column]
    solved = [0.0] * len(rows)
    for place in reversed(range(len(rows))):
        rest = sum(rows[place][column] * solved[column] for column in range(place + 1, len(rows)))
        solved[place] = (rows[place][-1] - rest) / rows[place][place]
    return solved


class TokenEstimates:
    """{deployment id: what is known of its counts}, the same in all processes. Without a memory it is for one alone."""

    def __init__(self, *, now_ms: Callable[[], int], memory: Memory | None = None) -> None:
        self._now_ms = now_ms
        self._values = SharedValues(ESTIMATE, Known(), memory)
        # Learned here, and not yet told.
        self._untold: dict[str, list[Answered]] = {}
        self._told_at_ms = 0
        # {deployment id: what its weights were made of, and they}
        self._weights: dict[str, tuple[Known, int, Weights]] = {}

    def estimated_tokens(self, deployment_id: str, prompt: Prompt) -> int:
        """What its provider will say of this prompt, as far as it is known."""
        return estimated_tokens(self._weights_of(deployment_id), prompt)

    def written_tokens(self, deployment_id: str, written: Text) -> int:
        """What its provider would say of so much that it wrote."""
        return written_tokens(self._weights_of(deployment_id), written)

    def learn(self, deployment_id: str, prompt: Prompt, *, estimated: int, reported: int) -> None:
        """It answered, and its provider said what the prompt was.

        What else is in a prompt than text teaches nothing of text, nor do more than REMEMBERED answers at once.
        """
        untold = self._untold.setdefault(deployment_id, [])
        if reported > 0 and prompt.is_text and len(untold) < REMEMBERED:
            untold.append(Answered(prompt, estimated, reported))

    def error(self, deployment_id: str) -> float | None:
        """See `error_of`."""
        return error_of(self._known(deployment_id))

    async def share(self, *, is_last: bool = False) -> None:
        """Tell the other processes, now and then. Raises LedgerError: then what is left is told the next time."""
        now_ms = self._now_ms()
        if is_last or now_ms >= self._told_at_ms + SHARE_EVERY_MS:
            self._told_at_ms = now_ms
            for deployment_id, answers in self._untold.items():
                if answers:
                    self._values.change(deployment_id, _after(tuple(answers)))
            self._untold.clear()
        await self._values.share()

    def _known(self, deployment_id: str) -> Known:
        return after(self._values.get(deployment_id), self._untold.get(deployment_id, ()))

    def _weights_of(self, deployment_id: str) -> Weights:
        """Made anew where more is known since; it is work, so once much is known, only when that is told to all."""
        base, untold = self._values.get(deployment_id), len(self._untold.get(deployment_id, ()))
        if len(base.answers) == REMEMBERED:
            untold = 0
        made = self._weights.get(deployment_id)
        if made is None or made[0] is not base or made[1] != untold:
            made = self._weights[deployment_id] = (base, untold, weights_of(self._known(deployment_id)))
        return made[2]


def _after(answers: tuple[Answered, ...]) -> Callable[[Known], Known]:
    return lambda known: after(known, answers)
