"""Names for generations: unique everywhere, and in the order of their birth."""

import random
from typing import Final

# RFC 4648's base32hex, lower case: its digits sort as their values do.
_ALPHABET: Final = "0123456789abcdefghijklmnopqrstuv"
_RANDOM_BITS: Final = 80
# Two digits at a time halves the work.
_PAIRS: Final = tuple(high + low for high in _ALPHABET for low in _ALPHABET)
_SHIFTS: Final = tuple(range(120, -1, -10))


def new_generation_id(now_ms: int) -> str:
    """`gen_` and 26 digits: 48 bits of the millisecond, then 80 random ones. Sorting names sorts by time.

    They are no secrets, so nobody asks the system for chance: Python seeds each process, and a forked child, anew.
    """
    assert 0 <= now_ms < 1 << 48
    number = now_ms << _RANDOM_BITS | random.getrandbits(_RANDOM_BITS)
    return "gen_" + "".join([_PAIRS[number >> shift & 1023] for shift in _SHIFTS])
