"""The price book: which price holds for a model at a provider at a moment. Never fuzzy: an exact name, or none.

A name may end in a snapshot's date where the data say that every snapshot of that model has its price. Vendors date
their models so: `claude-sonnet-4-5-20250929` (Anthropic), `gpt-6-sol-2026-05-13` (OpenAI).
The book is `book.json`, made from genai-prices' data by `python -m ledger.prices.build` and versioned with the code.
"""

import re
from functools import lru_cache
from importlib.resources import files
from typing import Self

import msgspec

from ledger.prices.price import Price, Tier

DAY_MS = 86_400_000
# The date at the end of a snapshot's name: its year, and the rest.
_DATED = re.compile(
    r"(?P<model>.+)-(?P<year>20\d\d)(?P<dash>-?)(?:0[1-9]|1[0-2])(?P=dash)(?:0[1-9]|[12]\d|3[01])", re.ASCII
)


class DatedPrice(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A price, from 00:00 UTC of a date on. from_date empty: as far back as anyone knows."""

    from_date: str = ""
    base: Tier
    tiers: tuple[tuple[int, Tier], ...] = ()
    per_request_nanousd: int = 0


class ModelEntry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One model: every exact name that it goes by, and its prices, oldest first.

    snapshots: names that are this model, too, with any date behind them; those that end in a year, with any of its.
    """

    names: tuple[str, ...]
    prices: tuple[DatedPrice, ...]
    context_window: int | None = None
    snapshots: tuple[str, ...] = ()


class ProviderEntry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One provider. base_url: a regular expression that its API's addresses begin with.

    resells: the providers whose prices it charges for models that it has no price of its own for (Azure, OpenAI's).
    """

    id: str
    base_url: str
    models: tuple[ModelEntry, ...]
    resells: tuple[str, ...] = ()


class BookFile(msgspec.Struct, frozen=True, kw_only=True):
    """The whole file. source and version name the data it was made from."""

    source: str
    version: str
    providers: tuple[ProviderEntry, ...]


class PriceBook:
    """Prices by provider address and exact model name."""

    def __init__(self, book: BookFile) -> None:
        self.version = f"{book.source} {book.version}"
        self._addresses = [(re.compile(entry.base_url), entry.id) for entry in book.providers]
        self._models = {
            (entry.id, name): model for entry in book.providers for model in entry.models for name in model.names
        }
        self._snapshots = {
            (entry.id, name): model for entry in book.providers for model in entry.models for name in model.snapshots
        }
        self._resells = {entry.id: entry.resells for entry in book.providers}

    @classmethod
    def load(cls) -> Self:
        """The book that this version of Farthing carries."""
        return cls(msgspec.json.decode(files("ledger.prices").joinpath("book.json").read_bytes(), type=BookFile))

    def find(self, *, base_url: str, vendor: str, model: str, date: str) -> Price | None:
        """The price of this model on a date (ISO, UTC), or None.

        A known address decides by itself; an unknown one (a proxy, say) is taken to charge what the vendor of its
        wire format charges for a model of exactly this name.
        """
        found = self._entry(base_url, vendor, model)
        if found is None:
            return None
        provider_id, entry = found
        dated = [price for price in entry.prices if price.from_date <= date] or [entry.prices[0]]
        price = dated[-1]
        since = f" from {price.from_date}" if price.from_date else ""
        return Price(
            version=f"{self.version} {provider_id}/{entry.names[0]}{since}",
            base=price.base,
            tiers=price.tiers,
            per_request_nanousd=price.per_request_nanousd,
        )

    def context_window(self, *, base_url: str, vendor: str, model: str) -> int | None:
        """How many tokens the model takes in all, where the book knows."""
        found = self._entry(base_url, vendor, model)
        return None if found is None else found[1].context_window

    def knows_address(self, base_url: str) -> bool:
        """Whether some provider of the book answers at this address."""
        return self._provider_at(base_url) is not None

    def _entry(self, base_url: str, vendor: str, model: str) -> tuple[str, ModelEntry] | None:
        own = self._provider_at(base_url) or vendor
        for provider_id in (own, *self._resells.get(own, ())):
            entry = self._models.get((provider_id, model)) or self._snapshot(provider_id, model)
            if entry is not None:
                return provider_id, entry
        return None

    def _snapshot(self, provider_id: str, model: str) -> ModelEntry | None:
        """The model that this is a dated snapshot of, where all its snapshots have one price."""
        dated = _DATED.fullmatch(model)
        if dated is None:
            return None
        name, year = dated["model"], dated["year"]
        return self._snapshots.get((provider_id, name)) or self._snapshots.get((provider_id, f"{name}-{year}"))

    def _provider_at(self, base_url: str) -> str | None:
        return next((provider_id for pattern, provider_id in self._addresses if pattern.match(base_url)), None)


@lru_cache(maxsize=1)
def load_book() -> PriceBook:
    """The book, read once."""
    return PriceBook.load()
