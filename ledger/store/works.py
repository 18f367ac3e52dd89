"""Transactions that share a commit: what each is, and in which order a batch runs them."""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, TypeVar

import msgspec

from ledger.database import Database

Result = TypeVar("Result")
# What it reads and writes is in the database alone: of a batch that failed it may run again.
Work = Callable[[Database], Result]
# Each work's result, and what went wrong after they were committed.
Committed = tuple[list[Any], Exception | None]


class Shared(msgspec.Struct, frozen=True):
    """A transaction that is cheaper together with the others of its kind in a batch: `run` takes all their items.

    run: returns for each item its result, or the exception that is its answer; what it raises undoes all of it, and
    each is then run alone. goes_first: before whatever other work comes next in the batch; else after all of them.
    """

    run: Callable[[Database, list[Any]], list[Any]]
    item: Any
    goes_first: bool = False

    def __call__(self, db: Database) -> Any:
        """Run it alone."""
        (result,) = self.run(db, [self.item])
        if isinstance(result, Exception):
            raise result
        return result


class BatchLost(Exception):
    """The database gave the whole batch back, or did not say whether it kept it (`unknown`)."""

    def __init__(self, *, unknown: bool) -> None:
        super().__init__(unknown)
        self.unknown = unknown


class Spoilt(Exception):
    """A work failed after it had written, and no savepoint undoes it alone: the batch has to be run again."""


def run_works(db: Any, works: Iterable[Work[Any]], run_work: Callable[[Any, Work[Any]], Any]) -> list[Any]:
    """In their order, those that go together after all others: what was revoked in this batch is revoked for them.

    Those that go first are not among these: they go before the next work of another kind.
    """
    results: list[Any] = []
    first: list[tuple[int, Shared]] = []
    last: dict[Any, list[tuple[int, Shared]]] = {}
    for place, work in enumerate(works):
        results.append(None)
        if isinstance(work, Shared) and work.goes_first:
            if first and first[0][1].run != work.run:
                _run_together(db, first, run_work, results)
                first = []
            first.append((place, work))
            continue
        _run_together(db, first, run_work, results)
        first = []
        if isinstance(work, Shared):
            last.setdefault(work.run, []).append((place, work))
        else:
            results[place] = run_work(db, work)
    for placed in (first, *last.values()):
        _run_together(db, placed, run_work, results)
    return results


def _run_together(
    db: Any, placed: list[tuple[int, Shared]], run_work: Callable[[Any, Work[Any]], Any], results: list[Any]
) -> None:
    """Put the results of works that go together, if there are any, each with its place, into these results."""
    if not placed:
        return
    found: Any = run_work(db, partial(_together, run=placed[0][1].run, items=[work.item for _, work in placed]))
    if isinstance(found, Exception):
        found = [run_work(db, work) for _, work in placed]
    for (place, _), result in zip(placed, found, strict=True):
        results[place] = result


def _together(db: Database, *, run: Callable[..., list[Any]], items: list[Any]) -> list[Any]:
    return run(db, items)
