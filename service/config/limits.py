"""How much a ceiling allows: dollars as an exact decimal, tokens and calls as whole numbers. Pure."""

from typing import Final

from ledger.ceilings import Unit, Window
from ledger.money import parse_usd
from service.config.model import CeilingSection

# Sums of it stay far below the tables' integers.
MOST: Final = 10**15


def limit_of(section: CeilingSection) -> int:
    """In nano-dollars, tokens or calls, whichever its unit is. Raises ValueError, which says what is wrong with it."""
    if section.limit_usd is not None:
        return parse_usd(section.limit_usd)
    limit = section.limit
    if isinstance(limit, float):
        hint = f'an amount is exact, so it goes in quotes: "{limit}"'
        raise ValueError(hint if section.unit == "usd" else f"{limit} is no whole number of {section.unit}")  # noqa: TRY004  # A problem, not a bug.
    if section.unit == "usd":
        return parse_usd(str(limit))
    text = str(limit).strip()
    if not (text.isascii() and text.isdigit()):
        raise ValueError(f"{limit!r} is no whole number of {section.unit}, zero or more")
    if int(text) > MOST:
        raise ValueError(f"{limit!r} is more than {MOST:,} {section.unit}")
    return int(text)


def name_of(section: CeilingSection) -> str:
    """What there may be one of: `user:* a day`, and `user:* a day in tokens`."""
    return f"{section.scope} {each_of(section.window, section.unit)}"


def each_of(window: Window, unit: Unit) -> str:
    """What it is that a scope may have one ceiling for: `a day`, and `a day in tokens`."""
    return f"a {window}" if unit == "usd" else f"a {window} in {unit}"
