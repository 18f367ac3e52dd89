"""An event loop that is nothing but a seed: virtual time, no threads, and a random choice of what runs next.

What is ready may run in any order, which is more than any real loop would do; time stands still while something can
run and leaps to the next timer when nothing can. Work belongs to the process that began it, and a process can be
stopped for a while (SIGSTOP) or for good (kill -9) between any two steps.
"""

import asyncio
import contextvars
import heapq
import random

# So often at most, and a second apart, who still lives at the end.
TOLD_TO_END = 1000
PROCESS: contextvars.ContextVar[str] = contextvars.ContextVar("process", default="")


class Stuck(Exception):
    """Nothing can ever run again, and somebody still waits."""


class SimulatedLoop(asyncio.BaseEventLoop):
    """The same seed gives the same steps."""

    def __init__(self, chance: random.Random) -> None:
        super().__init__()
        self._chance = chance
        self._now_s = 0.0
        self._stopped: dict[str, list[asyncio.Handle]] = {}
        self.steps = 0
        self._accidents: list[BaseException] = []
        self.set_exception_handler(_note_accident)

    def time(self) -> float:
        return self._now_s

    def stop_process(self, name: str) -> None:
        """Nothing of this process runs from now on; what becomes due meanwhile waits for it."""
        self._stopped.setdefault(name, [])

    def resume_process(self, name: str) -> None:
        """Let it run again, beginning with what became due meanwhile."""
        self._ready.extend(self._stopped.pop(name, ()))

    def bury(self) -> None:
        """Bring all that still lives to its end, the stopped ones too, and mind nothing that breaks."""
        self.set_exception_handler(lambda *_: None)
        self._accidents.clear()
        for name in list(self._stopped):
            self.resume_process(name)
        for _ in range(TOLD_TO_END):
            tasks = [task for task in asyncio.all_tasks(self) if not task.done()]
            if not tasks:
                break
            for task in tasks:
                task.cancel()
            self.run_until_complete(asyncio.wait(tasks, timeout=1))
        else:
            raise AssertionError(f"told to end {TOLD_TO_END} times, and there yet: {tasks}")
        self.run_until_complete(self.shutdown_asyncgens())
        self.close()

    def _run_once(self) -> None:
        """Raises what broke where nobody waits for it: a callback, or a task whose end nobody asks for."""
        if self._accidents:
            raise self._accidents.pop(0)
        if not self._ready:
            self._leap()
        at = self._chance.randrange(len(self._ready))
        handle = self._ready[at]
        del self._ready[at]
        if handle._cancelled:
            return
        parked = self._stopped.get(handle._context.get(PROCESS, ""))
        if parked is not None:
            parked.append(handle)
            return
        self.steps += 1
        handle._run()

    def _leap(self) -> None:
        """To the next timer that still counts, and everything that is due by then."""
        while self._scheduled and self._scheduled[0]._cancelled:
            heapq.heappop(self._scheduled)._scheduled = False
        if not self._scheduled:
            raise Stuck
        self._now_s = self._scheduled[0]._when
        while self._scheduled and self._scheduled[0]._when <= self._now_s:
            handle = heapq.heappop(self._scheduled)
            handle._scheduled = False
            self._ready.append(handle)

    def _write_to_self(self) -> None:
        """There is no other thread to be woken from."""

    def _process_events(self, event_list: object) -> None:
        """There are no files to wait for."""


def _note_accident(loop: SimulatedLoop, context: dict[str, object]) -> None:
    loop._accidents.append(context.get("exception") or AssertionError(context["message"]))
