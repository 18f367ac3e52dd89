"""The prices that postings name, kept so that their arithmetic can be shown and checked when the book has moved on."""

from collections.abc import Mapping
from contextlib import suppress
from typing import Final

import msgspec

from ledger.database import Database
from ledger.prices import Price
from ledger.sql import statements

SQL: Final = statements("sqlite", "prices")


class PriceUnreadable(Exception):
    """What is on record as a price is none: somebody changed it."""


def record_prices(db: Database, prices: Mapping[str, Price]) -> None:
    """Keep {deployment: its price}. What is on record under the same version stays as it is."""
    for deployment, price in prices.items():
        row = {"deployment": deployment, "price_version": price.version, "price": msgspec.json.encode(price).decode()}
        db.execute(SQL["record_price"], row)


def find_price(db: Database, deployment: str, price_version: str) -> Price | None:
    """The price of a deployment in this version. None: it is not on record. Raises PriceUnreadable."""
    place = {"deployment": deployment, "price_version": price_version}
    row = db.execute(SQL["find_price"], place).fetchone()
    return None if row is None else _read(row[0])


def all_prices(db: Database) -> list[tuple[str, Price]]:
    """Every (deployment, price) on record that can be read."""
    found: list[tuple[str, Price]] = []
    for deployment, text in db.execute(SQL["all_prices"]):
        with suppress(PriceUnreadable):
            found.append((deployment, _read(text)))
    return found


def _read(text: str) -> Price:
    try:
        return msgspec.json.decode(text, type=Price)
    except msgspec.DecodeError as error:
        raise PriceUnreadable from error
