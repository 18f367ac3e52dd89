"""Numbers as people write them in YAML, read as a config here takes them."""

from decimal import Decimal, InvalidOperation
from typing import Any, Final

_LONGEST_S: Final = 10_000_000


def seconds(value: Any) -> float | None:
    """A span in seconds as a config here takes it. None: it is none."""
    number = _number(value)
    return None if number is None or not 0 < number <= _LONGEST_S else float(number)


def whole(value: Any, most: int) -> int | None:
    """A whole number from 1 on. None: it is none, or too large."""
    number = _number(value)
    return None if number is None or number != int(number) or not 1 <= number <= most else int(number)


def dollars(value: Any) -> str | None:
    """An amount of money as a decimal string. None: it is none."""
    number = _number(value)
    return None if number is None or not 0 <= number <= 10**7 else format(number.normalize(), "f")


def per_mtok(value: Any) -> str | None:
    """Dollars for a million tokens, of dollars for one. None: it is no amount."""
    number = _number(value)
    return None if number is None else dollars(number * 1_000_000)


def _number(value: Any) -> Decimal | None:
    """A number, also as text: to YAML's older rules, 3e-06 is one."""
    if isinstance(value, bool) or not isinstance(value, int | float | str | Decimal):
        return None
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        return None
    return number if number.is_finite() and abs(number) < 10**15 else None
