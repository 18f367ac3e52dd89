"""Imported once, by the process that children of `tests.forked` are forked from: what takes long to load or to make."""

import gc
from pathlib import Path

import ledger.postgres.ledger
import ledger.postgres.verify
import ledger.sqlite.ledger
import ledger.sqlite.verify
import service.assembly
import service.http.generation
import service.server
import tests.faults.dying
import tests.faults.stress
from ledger.prices import load_book
from router.tokens.encodings import DEFAULT_ENCODING
from service.app import create_app
from service.commands import COMMANDS, main
from tests.loaded import load_encodings_once, load_once
from tests.service.http.scripted import Edge, Limits

__all__ = ["ledger", "service", "tests"]

load_encodings_once()
load_once(DEFAULT_ENCODING)
load_book()
for command in COMMANDS:
    main.get_command(None, command)
# What Litestar keeps of each handler, and the document of all of them, it makes with the first application.
create_app(Edge(Limits()).parts)

# Nothing has begun: a thread would not be there in a child, and what it held would be held for ever.
assert not Path("/proc/self/task").exists() or len(list(Path("/proc/self/task").iterdir())) == 1
# What is here stays: the collector of a child need not look at it, and so have it copied.
gc.collect()
gc.freeze()
