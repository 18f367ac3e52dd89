"""The one place that writes: many calls' transactions in one commit, each whole or not at all.

While one batch commits, the next one gathers, and goes on gathering until it runs those that go together, or its last
work has run; where the processor is busy, it waits for company first (`ledger.store.company`). Requests never own a
connection, so a caller that goes away only stops waiting. Source: DESIGN §4, "Writer".
"""

import asyncio
import contextlib
import logging
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Any, ClassVar, Final, TypeVar

import msgspec

from ledger.errors import LedgerUnavailable, NotALedger
from ledger.figures import Batch
from ledger.store.company import LOOK_S, Clocks, Company, read_clocks
from ledger.store.works import BatchLost, Committed, Work

Result = TypeVar("Result")
Commit = Callable[[Iterable[Work[Any]]], Awaitable[Committed]]

BATCH_LIMIT: Final = 256
QUEUE_LIMIT: Final = 20_000
REOPEN_DELAYS_S: Final = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
START_TRIES: Final = 5

log = logging.getLogger(__name__)


class Job(msgspec.Struct):
    """A transaction that somebody waits for."""

    work: Work[Any]
    done: asyncio.Future[Any]
    came_s: float


class Gathering:
    """The works of one batch, taken by whoever runs them, as long as more of them come.

    First those that wait when its turn has come, then those that have come while these ran, up to `limit`; those that
    go together run once no more have. Each shares the commit, and nobody waits for it any longer.
    take: removes so many from the queue at most. jobs: what was taken. A batch that runs again runs them again.
    """

    def __init__(self, take: Callable[[int], list[Job]], limit: int) -> None:
        self.jobs: list[Job] = []
        self._take = take
        self._limit = limit

    def __iter__(self) -> Iterator[Work[Any]]:
        more = self.jobs or self._taken()
        while more:
            for job in more:
                yield job.work
            more = self._taken()

    def _taken(self) -> list[Job]:
        more = self._take(self._limit - len(self.jobs))
        self.jobs = [*self.jobs, *more]
        return more


class Writer(ABC):
    """A queue of transactions and the task that commits them, on whichever engine.

    place: where the ledger is, for people. tell: hears of each batch that was committed. batch_limit: how many works
    share a commit at most. failures: what the engine raises where the database failed, and not one transaction.
    reopen_delays_s: how long it waits before it opens it again, and again. clocks: what tells how busy we are.
    """

    batch_limit = BATCH_LIMIT
    clocks: Callable[[], Clocks] = staticmethod(read_clocks)
    failures: ClassVar[tuple[type[Exception], ...]] = (OSError,)
    reopen_delays_s: ClassVar[tuple[float, ...]] = REOPEN_DELAYS_S

    def __init__(self, place: str, *, tell: Callable[[Batch], None] | None = None) -> None:
        self.place = place
        self._tell = tell
        self._first: deque[Job] = deque()
        self._second: deque[Job] = deque()
        # Asking for it takes a system call.
        self._loop = asyncio.get_running_loop()
        self._wake = asyncio.Event()
        # So many works have to wait for it to be set.
        self._wakes_at = 1
        self._closing = False
        self._is_open = False

    @abstractmethod
    def opened(self) -> AbstractAsyncContextManager[Commit]:
        """A connection made ready, and how a batch is committed on it. Raises `failures` and NotALedger."""

    @property
    def has_room(self) -> bool:
        """Whether new work may come; settlements may always."""
        return True

    def may_pass(self, error: BaseException) -> bool:
        """Whether opening it again may end this trouble; anything else needs a person."""
        return isinstance(error, OSError)

    def wal_bytes(self) -> int:
        """The size of a log that we have to move into the database ourselves."""
        return 0

    @property
    def is_ready(self) -> bool:
        """Whether it takes new work."""
        return self._is_open and self.has_room

    async def write(self, work: Work[Result], *, is_settlement: bool = False) -> Result:
        """Run `work` in a transaction and return its result once it is durable.

        Whole, even if the caller is cancelled; what `work` raises undoes it alone. Settlements go before admissions.
        Raises LedgerUnavailable: with `unknown`, repeat it under the same ids.
        """
        takes = self._is_open if is_settlement else self.is_ready
        if not takes or self.queue_depth >= QUEUE_LIMIT:
            raise LedgerUnavailable
        done: asyncio.Future[Result] = self._loop.create_future()
        (self._first if is_settlement else self._second).append(Job(work, done, time.monotonic()))
        if self.queue_depth >= self._wakes_at:
            self._wake.set()
        return await done

    async def run(self, opened: asyncio.Future[None]) -> None:
        """Commit batches until `close`, opening the file again whenever a commit failed."""
        failures = 0
        while not self._closing:
            try:
                async with self.opened() as commit:
                    self._is_open, failures = True, 0
                    if not opened.done():
                        opened.set_result(None)
                    await self._commit_batches(commit)
            except (BatchLost, NotALedger, *self.failures) as error:  # type: ignore[misc]  # Its types are ClassVar's.
                cause = error.__cause__ if isinstance(error, BatchLost) and error.__cause__ else error
                if not opened.done() and (failures == START_TRIES or not self.may_pass(cause)):
                    opened.set_exception(_refusal(self.place, cause))
                    return
                if not self.may_pass(cause):
                    await self._stay_down(cause)
                    return
                log.warning("the ledger failed, opening it again: %s", cause)
            finally:
                self._is_open = False
                self._fail_waiting()
            if not self._closing:
                with contextlib.suppress(TimeoutError):
                    delay_s = self.reopen_delays_s[min(failures, len(self.reopen_delays_s) - 1)]
                    await asyncio.wait_for(self._closed(), delay_s)
                failures += 1

    @property
    def queue_depth(self) -> int:
        """How many writes wait."""
        return len(self._first) + len(self._second)

    @property
    def queue_age_s(self) -> float:
        """How long the oldest write that waits has waited; 0: none does."""
        oldest: list[float] = []
        for queue in (self._first, self._second):
            with contextlib.suppress(IndexError):  # It may just be taken, by another thread.
                oldest.append(queue[0].came_s)
        return time.monotonic() - min(oldest) if oldest else 0.0

    def close(self) -> None:
        """Commit what is queued, then end `run`. No write is taken from now on."""
        self._is_open = False
        self._closing = True
        self._wake.set()

    async def _stay_down(self, cause: BaseException) -> None:
        """What is damaged, or not ours, is not opened again: what would be written to it could not be trusted."""
        self._is_open = False
        self._fail_waiting()
        if isinstance(cause, NotALedger):
            log.error("the ledger takes no more writes: %s", cause)
        else:
            log.error(
                "the ledger at %s is damaged (%s) and takes no more writes: stop the service, run `farthing verify`, "
                "and put a backup in its place",
                self.place, cause,
            )  # fmt: skip
        await self._closed()

    async def _closed(self) -> None:
        while not self._closing:
            self._wake.clear()
            await self._wake.wait()

    async def _commit_batches(self, commit: Commit) -> None:
        company = Company()
        while True:
            if not self.queue_depth:
                if self._closing:
                    return
                self._wake.clear()
                await self._wake.wait()
                continue
            await self._wait_for(company)
            began_s = time.monotonic()
            batch = Gathering(self._take, self.batch_limit)
            try:
                results, trouble = await commit(batch)
            except BatchLost as lost:
                _answer_all(batch.jobs, LedgerUnavailable(unknown=lost.unknown))
                raise
            except self.failures:  # It never began.
                _answer_all(batch.jobs, LedgerUnavailable(unknown=False))
                raise
            except Exception:
                _answer_all(batch.jobs, LedgerUnavailable(unknown=True))
                raise
            company.committed(len(batch.jobs))
            for job, result in zip(batch.jobs, results, strict=True):
                _answer(job, result)
            if self._tell is not None:
                waited_s = max(0.0, began_s - min(job.came_s for job in batch.jobs))
                self._tell(Batch(len(batch.jobs), waited_s, time.monotonic() - began_s))
            if trouble is not None:
                raise trouble

    async def _wait_for(self, company: Company) -> None:
        """As long as it is worth while, and nobody closes us."""
        while company.waits(self.queue_depth, self.clocks()) and not self._closing:
            self._wakes_at = company.wanted
            self._wake.clear()
            timer = self._loop.call_later(LOOK_S, self._wake.set)
            try:
                await self._wake.wait()
            finally:
                timer.cancel()
                self._wakes_at = 1

    def _take(self, most: int) -> list[Job]:
        """From the queue, in the order in which they are to run. For any thread."""
        jobs: list[Job] = []
        for queue in (self._first, self._second):
            with contextlib.suppress(IndexError):
                while len(jobs) < most:
                    jobs.append(queue.popleft())
        return jobs

    def _fail_waiting(self) -> None:
        """Whoever still waits was never written."""
        _answer_all(self._take(QUEUE_LIMIT), LedgerUnavailable())


@asynccontextmanager
async def run_writer(writer: Writer) -> AsyncIterator[None]:
    """Have it commit while the block runs. Raises NotALedger."""
    opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    async with AsyncExitStack() as stack:
        task = asyncio.create_task(writer.run(opened), name="ledger writer")
        stack.push_async_callback(_join, writer, task)
        await asyncio.wait((opened, task), return_when=asyncio.FIRST_COMPLETED)
        # A bug ends the task without a word to whoever waits for it to open.
        await (opened if opened.done() else task)
        yield


async def _join(writer: Writer, task: asyncio.Task[None]) -> None:
    writer.close()
    await task


def _answer(job: Job, result: object) -> None:
    if job.done.done():
        return  # The caller went away; the transaction stands.
    if isinstance(result, BaseException):
        job.done.set_exception(result)
    else:
        job.done.set_result(result)


def _answer_all(jobs: list[Job], error: Exception) -> None:
    for job in jobs:
        _answer(job, error)


def _refusal(place: str, cause: BaseException) -> NotALedger:
    if isinstance(cause, NotALedger):
        return cause
    refusal = NotALedger(f"{place} cannot be used as a ledger: {cause}")
    refusal.__cause__ = cause
    return refusal
