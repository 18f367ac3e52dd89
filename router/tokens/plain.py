"""Short texts of ASCII, counted without letting go of the interpreter.

tiktoken lets go of it for each text; while the ledger's thread waits for it, to get it back takes a call longer than
all that it counts in a short prompt. What cuts a text into pieces is tiktoken's own pattern, as it reads for ASCII;
each piece is then merged by tiktoken's core as ever.
"""

import re
from functools import lru_cache
from typing import Final

import tiktoken

# Longer ones are worth it, and counted sooner by tiktoken.
PLAIN_CHARS: Final = 200
# {a class of letters or digits in a pattern: its part of ASCII}, the longest first.
_CLASSES: Final = {
    r"\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}": "A-Z",
    r"\p{Ll}\p{Lm}\p{Lo}\p{M}": "a-z",
    r"\p{L}": "A-Za-z",
    r"\p{N}": "0-9",
}
_SET_OR_CLASS: Final = re.compile(r"\[[^\]]*\]|\\p\{.\}")


def plain_tokens(encoding: tiktoken.Encoding, text: str) -> int | None:
    """As many as `encode_ordinary` makes. None: the text is not of this kind."""
    if len(text) > PLAIN_CHARS or not text.isascii():
        return None
    merged = encoding._core_bpe.encode_single_piece  # noqa: SLF001  The one function of the core's that holds on to it.
    return sum([len(merged(piece.encode())) for piece in _cutter(encoding._pat_str).findall(text)])  # noqa: SLF001


@lru_cache(maxsize=16)
def _cutter(pattern: str) -> re.Pattern[str]:
    ascii_pattern = _SET_OR_CLASS.sub(lambda found: _in_ascii(found[0]), pattern)
    # The end of the text; to `re`, "$" is before its last line break, too.
    return re.compile(ascii_pattern.replace("$", r"\Z"), re.ASCII)


def _in_ascii(part: str) -> str:
    """A set, or a class that stands by itself."""
    for name, letters in _CLASSES.items():
        part = part.replace(name, letters)
    return part if part.startswith("[") else f"[{part}]"
