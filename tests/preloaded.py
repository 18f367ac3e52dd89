"""Imported once, by the process that children of `tests.forked` are forked from: what takes long to load."""

import gc
from pathlib import Path

import service.assembly
import service.http.generation
import service.server
import tests.faults.dying
from router.tokens.counter import TokenCounter
from router.tokens.encodings import DEFAULT_ENCODING, load_encoding
from service.commands import COMMANDS, main

ENCODING = load_encoding(DEFAULT_ENCODING)
__all__ = ["service", "tests", "use_the_loaded_encoding"]

for command in COMMANDS:
    main.get_command(None, command)


def use_the_loaded_encoding() -> None:
    """Have every counter of this process count with it."""
    TokenCounter.__init__.__kwdefaults__["load"] = lambda name: (
        ENCODING if name == DEFAULT_ENCODING else load_encoding(name)
    )


# Nothing has begun: a thread would not be there in a child, and what it held would be held for ever.
assert not Path("/proc/self/task").exists() or len(list(Path("/proc/self/task").iterdir())) == 1
# What is here stays: the collector of a child need not look at it, and so have it copied.
gc.collect()
gc.freeze()
