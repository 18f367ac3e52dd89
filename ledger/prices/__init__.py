"""The price book: dated, versioned prices in whole nano-dollars per million tokens."""

from ledger.prices.book import PriceBook, load_book
from ledger.prices.price import Price, Tier

__all__ = ["Price", "PriceBook", "Tier", "load_book"]
