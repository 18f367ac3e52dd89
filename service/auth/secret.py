"""The secret that a caller shows: its grammar, checked before anything is looked up. Pure but for chance.

`fk_` · 12 digits, the key's id · `_` · 40 digits, 200 bits by chance · 7 digits, a CRC-32 of all before. Digits are
those of RFC 4648's base32hex in lower case. The checksum is no protection: it tells typing errors, and scanners for
leaked secrets that this is one.
"""

import re
import secrets
import zlib
from typing import Final, NamedTuple

PREFIX: Final = b"fk_"
_ALPHABET: Final = "0123456789abcdefghijklmnopqrstuv"
_ID_DIGITS: Final = 12
_CHANCE_DIGITS: Final = 40
_CHECK_DIGITS: Final = 7
_GRAMMAR: Final = re.compile(
    rb"(fk_([0-9a-v]{%d})_[0-9a-v]{%d})([0-9a-v]{%d})" % (_ID_DIGITS, _CHANCE_DIGITS, _CHECK_DIGITS)
)
# Also a part of one, or one with a typing error.
_SHOWN: Final = re.compile(r"fk_([0-9a-v]{12})_\w+")


class Secret(NamedTuple):
    """A secret of the right grammar. Whether there is such a key is another question. text: all of it."""

    key_id: str
    text: bytes


def new_secret() -> Secret:
    """One that was never before."""
    key_id, chance = _by_chance(_ID_DIGITS), _by_chance(_CHANCE_DIGITS)
    body = f"fk_{key_id}_{chance}".encode()
    return Secret(key_id, body + _checksum(body))


def parse_secret(text: bytes) -> Secret | None:
    """None: this was never a secret of ours."""
    match = _GRAMMAR.fullmatch(text)
    if match is None or _checksum(match[1]) != match[3]:
        return None
    return Secret(match[2].decode("ascii"), text)


def without_secrets(text: str) -> str:
    """The text with what may be one of our secrets cut off behind its id: somebody put it where it does not belong."""
    return _SHOWN.sub(r"fk_\1_…", text) if "fk_" in text else text


def _by_chance(digits: int) -> str:
    return "".join(secrets.choice(_ALPHABET) for _ in range(digits))


def _checksum(body: bytes) -> bytes:
    rest, digits = zlib.crc32(body), ""
    for _ in range(_CHECK_DIGITS):
        rest, digit = divmod(rest, len(_ALPHABET))
        digits = _ALPHABET[digit] + digits
    return digits.encode()
