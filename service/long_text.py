"""A long text put together piece by piece, so that no step in C holds the interpreter for long.

`"".join` makes the whole of it in one step. Of ten megabytes in which a single character is beyond the 16 bits of its
plane, that is 40 MB of fresh memory, and took 25 to 40 ms. Here the room is only reserved at first, and the kernel
finds each page of it in the step that writes to it.
"""

import ctypes
from collections.abc import Sequence
from typing import Any, Final

_ASCII: Final = 0x7F
_LATIN_1: Final = 0xFF
_BMP: Final = 0xFFFF
_ALL: Final = 0x10FFFF

# CPython's own. Source: docs.python.org, "Unicode Objects and Codecs": "It is not allowed to modify a string once it is
# used": while it is written it is known to `joined` alone, and CPython counts that nobody else knows it.
_new: Any = ctypes.pythonapi.PyUnicode_New
_new.argtypes, _new.restype = (ctypes.c_ssize_t, ctypes.c_uint32), ctypes.py_object
_copy: Any = ctypes.pythonapi.PyUnicode_CopyCharacters
_copy.argtypes = (ctypes.c_void_p, ctypes.c_ssize_t, ctypes.py_object, ctypes.c_ssize_t, ctypes.c_ssize_t)
_copy.restype = ctypes.c_ssize_t


def joined(pieces: Sequence[str]) -> str:
    """The same as `"".join(pieces)`."""
    widest = _ASCII
    for piece in pieces:
        widest = max(widest, _width(piece, widest))
    text: str = _new(sum(map(len, pieces)), widest)
    end = 0
    try:
        for piece in pieces:
            # By its address: an argument would be a second reference.
            end += _copy(id(text), end, piece, 0, len(piece))
    except SystemError:
        # Somebody else has a reference to it: a debugger, which looks at all that a function knows.
        return "".join(pieces)
    return text


def _width(piece: str, least: int) -> int:
    """The largest character that fits where the widest of these does; `least`, where that is enough for all."""
    if least == _ALL or piece.isascii():
        return least
    if least < _BMP and _is_latin_1(piece):
        return _LATIN_1
    return _BMP if len(piece.encode("utf-16-le", "surrogatepass")) == 2 * len(piece) else _ALL


def _is_latin_1(piece: str) -> bool:
    try:
        piece.encode("latin-1")
    except UnicodeEncodeError:
        return False
    return True
