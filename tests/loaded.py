"""An encoding takes a quarter of a second to load, which a user pays once. A test process does so, too."""

from functools import cache

from router.tokens.counter import TokenCounter
from router.tokens.encodings import load_encoding

load_once = cache(load_encoding)


def load_encodings_once() -> None:
    """From now on every counter that is not told where to load from shares its encodings with the others."""
    TokenCounter.__init__.__kwdefaults__["load"] = load_once
