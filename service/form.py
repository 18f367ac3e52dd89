"""A rendered answer as a form, in which what differs from one hit to the next is left open.

Which places those are is found by rendering the answer with marks in them: names by chance, and numbers like no other.
"""

import random
import re
from collections.abc import Callable
from typing import Final

import msgspec

from router.call import Call
from router.reply import Finished
from service.ids import new_generation_id
from telemetry.context import new_trace_id

Render = Callable[[Call, Finished], bytes]

# Eleven digits of seconds are far from any moment of ours, and fewer than are written in another way.
_SECONDS: Final = (10**10, 10**11 - 1)
_PREFIX: Final = "gen_"


class Names(msgspec.Struct, frozen=True, kw_only=True):
    """What differs from one hit on an answer to the next."""

    generation_id: str
    trace_id: str
    received_at_ms: int
    latency_ms: float

    def texts(self) -> tuple[bytes, ...]:
        """As they are written, in JSON."""
        return (
            self.generation_id.removeprefix(_PREFIX).encode(),
            self.trace_id.encode(),
            b"%d" % (self.received_at_ms // 1000),
            msgspec.json.encode(self.latency_ms),
        )


class Form:
    """The answer's bytes, in pieces. Made by `Forms.of`."""

    def __init__(self, pieces: list[bytes], places: list[tuple[int, int]]) -> None:
        self._pieces = pieces
        self._places = places

    @property
    def size(self) -> int:
        """In bytes, without what is to be filled in."""
        return sum(map(len, self._pieces))

    def filled(self, names: Names) -> bytes:
        """The answer under these names."""
        pieces, texts = self._pieces.copy(), names.texts()
        for place, name in self._places:
            pieces[place] = texts[name]
        return b"".join(pieces)


class Forms:
    """Makes forms. Its marks are its own, and leave it in no answer."""

    def __init__(self) -> None:
        self._marks = _marks()
        self._texts = self._marks.texts()
        self._pattern = re.compile(b"(" + b"|".join(map(re.escape, self._texts)) + b")")

    def of(self, render: Render, call: Call, finished: Finished) -> Form | None:
        """The form of what is rendered for this call. None: there is none that this answer is the filled-in one of."""
        marked = self._pattern.split(_rendered(render, call, finished, self._marks))
        form = Form(marked, [(place, self._texts.index(marked[place])) for place in range(1, len(marked), 2)])
        return form if form.filled(names_of(call, finished)) == render(call, finished) else None


def names_of(call: Call, finished: Finished) -> Names:
    """Those of an answered call."""
    return Names(
        generation_id=call.generation_id,
        trace_id=finished.receipt.trace_id,
        received_at_ms=call.received_at_ms,
        latency_ms=finished.receipt.latency_ms,
    )


def _marks() -> Names:
    seconds, fraction = random.randint(*_SECONDS), random.randint(100, 998)  # noqa: S311  They are no secrets.
    return Names(
        generation_id=new_generation_id(random.getrandbits(47)),
        trace_id=new_trace_id(),
        received_at_ms=seconds * 1000,
        latency_ms=random.randint(*_SECONDS) + (fraction | 1) / 1000,  # noqa: S311
    )


def _rendered(render: Render, call: Call, finished: Finished, names: Names) -> bytes:
    replace = msgspec.structs.replace
    call = replace(
        call,
        generation_id=names.generation_id,
        received_at_ms=names.received_at_ms,
        trace=replace(call.trace, trace_id=names.trace_id),
    )
    receipt = replace(
        finished.receipt,
        generation_id=names.generation_id,
        trace_id=names.trace_id,
        latency_ms=names.latency_ms,
    )
    return render(call, replace(finished, receipt=receipt))
