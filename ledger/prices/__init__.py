"""The price book: dated, versioned prices in whole nano-dollars per million tokens."""

from typing import Final

from ledger.prices.book import PriceBook, load_book
from ledger.prices.price import Charge, Price, Tier

FREE: Final = Price(version="free", base=Tier())

__all__ = ["FREE", "Charge", "Price", "PriceBook", "Tier", "load_book"]
