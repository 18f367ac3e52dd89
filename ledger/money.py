"""Money is an int of nano-dollars. Decimal strings exist only at the edge; floats nowhere."""

from collections.abc import Mapping
from decimal import ROUND_CEILING, Decimal, InvalidOperation
from typing import Final

NANOUSD_PER_USD: Final = 1_000_000_000
TOKENS_PER_MTOK: Final = 1_000_000
# SQLite's and PostgreSQL's integers end at 2**63; one amount stays far enough below it for sums not to overflow.
MAX_NANOUSD: Final = 10**17


def cost_nanousd(tokens: int, price_nanousd_per_mtok: int) -> int:
    """Cost in nano-dollars, rounded up once, so a hold never falls short of its settlement."""
    assert tokens >= 0
    assert price_nanousd_per_mtok >= 0
    return -(-tokens * price_nanousd_per_mtok // TOKENS_PER_MTOK)


def parse_usd(text: str) -> int:
    """Nano-dollars in a decimal string of dollars, rounded up to a whole nano-dollar.

    Raises ValueError for what is no plain, non-negative, finite amount below 10^8 dollars.
    """
    try:
        amount = Decimal(text)
    except InvalidOperation as error:
        raise ValueError(f'{text!r} is not an amount in dollars; write it like "12.50"') from error
    if not amount.is_finite() or (amount.is_signed() and amount != 0):
        raise ValueError(f"{text!r} is not an amount in dollars of zero or more")
    if amount > Decimal(MAX_NANOUSD) / NANOUSD_PER_USD:
        raise ValueError(f"{text!r} is more than {MAX_NANOUSD // NANOUSD_PER_USD} dollars")
    return int((amount * NANOUSD_PER_USD).to_integral_value(rounding=ROUND_CEILING))


def amount_fields(amounts: Mapping[str, int], unit: str) -> dict[str, int | str]:
    """{name: amount} as reports have it: `NAME_usd` and `NAME_nanousd` of nano-dollars, plain counts of other units."""
    if unit != "usd":
        return dict(amounts)
    in_dollars = {f"{name}_usd": format_usd(amount) for name, amount in amounts.items()}
    return in_dollars | {f"{name}_nanousd": amount for name, amount in amounts.items()}


def format_usd(nanousd: int) -> str:
    """Dollars with all nine places, so that reading it back loses nothing: 123000 is "0.000123000"."""
    sign = "-" if nanousd < 0 else ""
    dollars, rest = divmod(abs(nanousd), NANOUSD_PER_USD)
    return f"{sign}{dollars}.{rest:09d}"
