"""What calls to a deployment usually come to: which part of the input is cached, and how much is written for it.

Learned from the ledger's own lines of the last day, so that all processes know the same, over restarts too.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Final

import msgspec

from ledger.ceilings import DAY_MS
from ledger.errors import LedgerError
from ledger.ledger import Ledger
from ledger.loops import running
from ledger.reports import Spend
from ledger.usage import Usage
from router.deployments import Route
from router.plan import Candidate

# Fewer attempts say too little.
ATTEMPTS_THAT_COUNT: Final = 10
# Of a text in the usual tokenizers. It weighs what is read against a limit of what is written, and nothing else.
BYTES_PER_TOKEN: Final = 4
LEARN_S: Final = 60.0

log = logging.getLogger(__name__)


class Habit(msgspec.Struct, frozen=True, kw_only=True):
    """For each token read: how many of it come from the provider's cache, and how many are written, reasoning apart."""

    cached: float = 0.0
    written: float = 1.0
    reasoning: float = 0.0


class Written(msgspec.Struct, frozen=True, kw_only=True):
    """How much an answer has, in tokens."""

    output: int
    reasoning: int = 0


# Where nothing is known: the list price, of as much written as read.
LIST_PRICE: Final = Habit()


def habits_of(spent: Mapping[str, Spend], deployment_ids: Sequence[str]) -> dict[str, Habit]:
    """The habit of each. One that is not known writes as much as the others did, and has nothing in its cache."""
    known = {name: spend for name in deployment_ids if (spend := spent.get(name)) is not None and _is_enough(spend)}
    together = Spend()
    for spend in known.values():
        together.add(spend)
    others = msgspec.structs.replace(_habit(together), cached=0.0) if known else LIST_PRICE
    return {name: _habit(known[name]) if name in known else others for name in deployment_ids}


def expected_nanousd(candidate: Candidate, habit: Habit) -> int:
    """What the call will probably cost there; never more than its hold."""
    price = candidate.deployment.price
    assert price is not None, "plan leaves out what has no price"
    read = -(-candidate.read_tokens // BYTES_PER_TOKEN)
    limit = candidate.allowed_tokens
    written, reasoning = read * habit.written, read * habit.reasoning
    shrink = 1.0 if limit is None or written + reasoning <= limit else limit / (written + reasoning)
    cached = min(read, round(read * habit.cached))
    usage = Usage(
        input_tokens=read - cached,
        cached_tokens=cached,
        output_tokens=int(written * shrink),
        reasoning_tokens=int(reasoning * shrink),
    )
    return price.cost_nanousd(usage)


def _is_enough(spend: Spend) -> bool:
    return spend.attempts >= ATTEMPTS_THAT_COUNT and spend.prompt_tokens > 0


def _written(spend: Spend) -> Written:
    reasoning = -(-spend.reasoning_tokens // spend.attempts)
    return Written(output=-(-spend.completion_tokens // spend.attempts) - reasoning, reasoning=reasoning)


def _habit(spend: Spend) -> Habit:
    read = spend.prompt_tokens
    return Habit(
        cached=spend.cached_tokens / read,
        written=(spend.completion_tokens - spend.reasoning_tokens) / read,
        reasoning=spend.reasoning_tokens / read,
    )


class Habits:
    """What the ledger last said of each deployment. Empty until `learn`."""

    def __init__(self, ledger: Ledger, *, now_ms: Callable[[], int]) -> None:
        self._ledger = ledger
        self._now_ms = now_ms
        self._spent: dict[str, Spend] = {}
        self._learned_at_ms = 0

    async def refresh(self) -> None:
        """Learn, unless that was done of late. While the ledger is in trouble, what was known stays."""
        if self._now_ms() - self._learned_at_ms >= LEARN_S * 1000:
            with suppress(LedgerError):
                await self.learn()

    async def learn(self) -> None:
        """Ask the ledger anew. Raises LedgerError; then what was known stays."""
        self._learned_at_ms = self._now_ms()
        async with self._ledger.transaction() as txn:
            self._spent = await txn.get_all_spend(since_ms=self._now_ms() - DAY_MS)

    def usually_written(self, deployment_id: str) -> Written | None:
        """What its answers of the last day came to on average. None: too few were given to say."""
        spend = self._spent.get(deployment_id)
        return None if spend is None or not _is_enough(spend) else _written(spend)

    def expected_nanousd(self, candidates: Sequence[Candidate]) -> dict[str, int]:
        """{deployment id: what the call will probably cost there}."""
        habits = habits_of(self._spent, [candidate.deployment.id for candidate in candidates])
        return {it.deployment.id: expected_nanousd(it, habits[it.deployment.id]) for it in candidates}


@asynccontextmanager
async def open_habits(
    ledger: Ledger, *, now_ms: Callable[[], int], routes: Callable[[], Iterable[Route]]
) -> AsyncIterator[Habits]:
    """Habits that are learned anew each LEARN_S, as long as some route orders by them."""
    habits = Habits(ledger, now_ms=now_ms)
    async with running(_keep_learning(habits, routes), name="deployment habits"):
        yield habits


async def _keep_learning(habits: Habits, routes: Callable[[], Iterable[Route]]) -> None:
    while True:
        if any(route.strategy == "cheapest" for route in routes()):
            try:
                await habits.learn()
            except LedgerError:
                log.debug("what calls usually come to is not learned while the ledger is in trouble")
            except Exception:
                log.exception("what calls usually come to was not learned; it is tried again")
        await asyncio.sleep(LEARN_S)
