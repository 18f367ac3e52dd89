"""Imported once, by the process that the children of `tests.faults.dying` are forked from: what takes long to load."""

import service.assembly
import service.commands.serve
import service.http.generation
import service.server
from router.tokens.counter import TokenCounter
from router.tokens.encodings import DEFAULT_ENCODING, load_encoding

ENCODING = load_encoding(DEFAULT_ENCODING)
__all__ = ["ENCODING", "TokenCounter", "service"]


def use_the_loaded_encoding() -> None:
    """Have every counter of this process count with it."""
    TokenCounter.__init__.__kwdefaults__["load"] = lambda _: ENCODING
