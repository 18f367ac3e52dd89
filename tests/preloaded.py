"""Imported once, by the process that children of `tests.forked` are forked from: what takes long to load."""

import gc
from pathlib import Path

import service.assembly
import service.http.generation
import service.server
import tests.faults.dying
from router.tokens.encodings import DEFAULT_ENCODING
from service.commands import COMMANDS, main
from tests.loaded import load_encodings_once, load_once

__all__ = ["service", "tests"]

load_encodings_once()
load_once(DEFAULT_ENCODING)
for command in COMMANDS:
    main.get_command(None, command)

# Nothing has begun: a thread would not be there in a child, and what it held would be held for ever.
assert not Path("/proc/self/task").exists() or len(list(Path("/proc/self/task").iterdir())) == 1
# What is here stays: the collector of a child need not look at it, and so have it copied.
gc.collect()
gc.freeze()
