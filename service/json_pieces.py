"""Large JSON texts read piece by piece, so that no step in C holds the interpreter for long.

The text is cut at commas outside its strings, at whatever depth they are. Each piece is decoded with the brackets that
it leaves open closed, and its members are added to the containers that were open before it: what has been read hangs
together at any moment, and the rest of it grows at its end. A text within it that is longer than a piece is unescaped
in pieces and stands in for the empty one that was read in its place.
"""

import re
from collections.abc import Iterator
from typing import Any, Final

import msgspec

from service.long_text import joined

PIECE_BYTES: Final = 262_144
# Of one object in a large text. To sort more, as a cache key wants them, is one long step; a schema has some thousands.
MAX_KEYS: Final = 20_000
_DECODER: Final = msgspec.json.Decoder()
_TEXT: Final = msgspec.json.Decoder(str)
_BRACKET: Final = re.compile(rb"[\[\]{}]")
_CLOSING: Final = {b"[": b"]", b"{": b"}"}
_SPACE: Final = b" \t\r\n"
_ESCAPE_BYTES: Final = 6
# The first half of a character that takes two escapes.
_HALF: Final = re.compile(rb"\\u[dD][89abAB]..")


class Malformed(Exception):
    """The text is no JSON."""


class LongKey(Exception):
    """A key is longer than a piece."""


class ManyKeys(Exception):
    """An object has more keys than MAX_KEYS."""


class DuplicateKey(Exception):
    """A key is given twice in one object."""


def unescaped(text: bytes) -> bytes:
    """The text with every backslash's character, and it, as something else: what quotation marks are left are none of
    a string's own. Nothing moves. It begins outside an escape.
    """
    if b"\\" not in text:
        return text
    # In pairs from the left: what is left of a run of backslashes escapes the next character.
    return text.replace(b"\\\\", b"__").replace(b'\\"', b"__")


def decode_in_pieces(raw: bytes) -> Any:
    """The value that this text is. Of equal keys in one object the last one counts, as for msgspec.

    Its depth is bounded already. Raises Malformed, LongKey, ManyKeys, UnicodeDecodeError; and DuplicateKey, but
    not for each.
    """
    reading = _Reading(raw)
    while not reading.is_over:
        reading.step()
    return reading.value


class _Reading:
    """How far a text has been read. open: the containers that are, outermost first; the first one is the text's own."""

    def __init__(self, raw: bytes) -> None:
        self._raw = raw
        self._at = 0
        self._root: list[Any] = []
        self._open: list[Any] = [self._root]
        # Whether the innermost one must go on with a comma, or with a value.
        self._follows_value = False
        self._follows_comma = False

    @property
    def is_over(self) -> bool:
        return self._at >= len(self._raw)

    @property
    def value(self) -> Any:
        if len(self._open) != 1 or len(self._root) != 1 or self._follows_comma:
            raise Malformed
        return self._root[0]

    def step(self) -> None:
        """Read one piece, or one long text."""
        raw, size = self._raw, PIECE_BYTES
        while True:
            end = min(self._at + size, len(raw))
            piece = raw[self._at : end]
            parts = unescaped(piece).split(b'"')
            if end == len(raw):
                self._read(piece, parts)
                self._at = end
                return
            comma = _last_comma(parts)
            if comma >= 0:
                self._read(piece[:comma], parts)
                if not self._follows_value:
                    raise Malformed
                self._follows_value, self._follows_comma = False, True
                self._at += comma + 1
                return
            if len(parts) % 2 == 0 and len(parts[-1]) >= PIECE_BYTES:
                self._read_long_text(piece[: len(piece) - len(parts[-1]) - 1])
                return
            # Space, one number, or a text that may not be a long one.
            size *= 2

    def _read(self, text: bytes, parts: list[bytes]) -> None:
        """Add what this says to what is open. parts: it, split at its strings' quotation marks."""
        begins = 0
        opened: list[bytes] = []
        for at, bracket in _brackets(parts):
            if bracket in _CLOSING:
                opened.append(bracket)
            elif opened:
                opened.pop()
            else:
                self._add(text[begins:at], [])
                self._close(bracket)
                begins = at + 1
        self._add(text[begins:], opened)

    def _add(self, members: bytes, opened: list[bytes]) -> None:
        """Add these members to the innermost container. opened: the brackets in them that have no partner yet."""
        members = members.strip(_SPACE)
        if self._follows_value and members:
            if members[:1] != b",":
                raise Malformed
            members = members[1:].lstrip(_SPACE)
            self._follows_value, self._follows_comma = False, True
        if not members:
            return
        into = self._open[-1]
        is_object = isinstance(into, dict)
        closing = b"".join([_CLOSING[bracket] for bracket in reversed(opened)])
        try:
            added = _DECODER.decode(
                b"%b%b%b%b" % (b"{" if is_object else b"[", members, closing, b"}" if is_object else b"]")
            )
        except msgspec.DecodeError as error:
            raise Malformed from error
        if is_object:
            into.update(added)
            if len(into) > MAX_KEYS:
                raise ManyKeys
        else:
            into.extend(added)
        self._follows_value, self._follows_comma = True, False
        for bracket in opened:
            added = added[-1] if isinstance(added, list) else next(reversed(added.values()))
            if not isinstance(added, dict if bracket == b"{" else list):
                # An object has a key twice: what was opened took the place of what came before, and is not its last.
                raise DuplicateKey
            self._open.append(added)
            self._follows_value = bool(added)

    def _close(self, bracket: bytes) -> None:
        closed = self._open.pop()
        if not self._open or self._follows_comma or (bracket == b"}") is not isinstance(closed, dict):
            raise Malformed
        self._follows_value = True

    def _read_long_text(self, before: bytes) -> None:
        """A text that ends beyond this piece; what stands before its quotation mark comes first."""
        text, end = _long_text(self._raw, self._at + len(before) + 1)
        if self._raw[end : end + PIECE_BYTES].lstrip(_SPACE)[:1] == b":":
            raise LongKey
        before += b'""'
        self._read(before, unescaped(before).split(b'"'))
        into = self._open[-1]
        into[next(reversed(into)) if isinstance(into, dict) else -1] = text
        self._at = end


def _last_comma(parts: list[bytes]) -> int:
    """Where the last comma outside strings is; -1: nowhere. The parts end before it afterwards."""
    end = sum(map(len, parts)) + len(parts) - 1
    for number in range(len(parts) - 1, -1, -1):
        part = parts[number]
        end -= len(part)
        if number % 2 == 0 and (at := part.rfind(b",")) >= 0:
            parts[number:] = [part[:at]]
            return end + at
        end -= 1
    return -1


def _brackets(parts: list[bytes]) -> Iterator[tuple[int, bytes]]:
    """The brackets outside strings, and where they are."""
    if not _BRACKET.search(b"".join(parts[::2])):
        return
    begins = 0
    for number, part in enumerate(parts):
        if number % 2 == 0:
            for found in _BRACKET.finditer(part):
                yield begins + found.start(), found[0]
        begins += len(part) + 1


def _long_text(raw: bytes, begins: int) -> tuple[str, int]:
    """The text that begins there, and where it is over: behind its quotation mark."""
    pieces: list[str] = []
    while True:
        end = _between_characters(raw, begins, begins + PIECE_BYTES)
        piece = raw[begins:end]
        quote = unescaped(piece).find(b'"')
        try:
            pieces.append(_TEXT.decode(b'"%b"' % (piece if quote < 0 else piece[:quote])))
        except msgspec.DecodeError as error:
            raise Malformed from error
        if quote >= 0:
            return joined(pieces), begins + quote + 1
        if end == len(raw):
            raise Malformed
        begins = end


def _between_characters(raw: bytes, begins: int, end: int) -> int:
    """The last place up to `end` at which a string that goes on from `begins` can be cut in two."""
    if end >= len(raw):
        return len(raw)
    for _ in range(3):
        end -= raw[end] & 0xC0 == 0x80
    at = raw.rfind(b"\\", end - _ESCAPE_BYTES, end)
    if at < 0 or not _begins_escape(raw, begins, at):
        return end
    half = at - _ESCAPE_BYTES
    return half if _HALF.match(raw, half, at) and _begins_escape(raw, begins, half) else at


def _begins_escape(raw: bytes, begins: int, at: int) -> bool:
    """Whether the backslash there is an escape's first, and not the one that it stands for."""
    before = raw[begins : at + 1]
    return (len(before) - len(before.rstrip(b"\\"))) % 2 == 1
