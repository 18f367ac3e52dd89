"""The prices that postings name, kept so that their arithmetic can be shown and checked when the book has moved on."""

import sqlite3
from collections.abc import Mapping
from typing import Final

import msgspec

from ledger.prices import Price
from ledger.sql import statements

SQL: Final = statements("sqlite", "prices")


def record_prices(db: sqlite3.Connection, prices: Mapping[str, Price]) -> None:
    """Keep {deployment: its price}. What is on record under the same version stays as it is."""
    for deployment, price in prices.items():
        row = {"deployment": deployment, "price_version": price.version, "price": msgspec.json.encode(price).decode()}
        db.execute(SQL["record_price"], row)


def find_price(db: sqlite3.Connection, deployment: str, price_version: str) -> Price | None:
    """The price of a deployment in this version. None: it is not on record."""
    place = {"deployment": deployment, "price_version": price_version}
    row = db.execute(SQL["find_price"], place).fetchone()
    return None if row is None else msgspec.json.decode(row[0], type=Price)


def all_prices(db: sqlite3.Connection) -> list[tuple[str, Price]]:
    """Every (deployment, price) on record."""
    rows = db.execute(SQL["all_prices"])
    return [(deployment, msgspec.json.decode(price, type=Price)) for deployment, price in rows]
