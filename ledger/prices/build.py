"""Makes `book.json` from genai-prices' data: `python -m ledger.prices.build`. Needs the dev extra.

Exact names only: a model's id and the names that its match clauses list. What they match by prefix or pattern is left
out, but for one thing that vendors publish: the date of a snapshot, where the data take the model with any date behind
it for the same model. Times of day count as their dearest. Units that the ledger does not count (searches, hours,
cached images, video) are left out and counted in the report.
"""

import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from decimal import ROUND_CEILING, Decimal
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import msgspec
from genai_prices.data import providers

from ledger.money import NANOUSD_PER_USD
from ledger.prices.book import BookFile, DatedPrice, ModelEntry, ProviderEntry
from ledger.prices.price import Tier

BOOK: Final = Path(__file__).with_name("book.json")
# The source has some prices with binary noise, like 0.18000000000000002.
PLACES: Final = Decimal("1e-12")
CLASSES: Final = {
    "input": "input_mtok",
    "cached_input": "cache_read_mtok",
    "cache_write": "cache_write_mtok",
    "output": "output_mtok",
    "reasoning": "output_reasoning_mtok",
    "cache_write_1h": "cache_write_1h_mtok",
    "input_audio": "input_audio_mtok",
    "cached_audio": "cache_audio_read_mtok",
    "input_image": "input_image_mtok",
    "output_audio": "output_audio_mtok",
    "output_image": "output_image_mtok",
}
# {a part of a model's name: what an hour in the cache costs it, in prices of its input}, where the data have a price of
# five minutes alone. Source: Anthropic, "Prompt caching": 1.25 times the input's price for five minutes, twice for 1 h.
HOUR_IN_CACHE: Final = {"claude": 2}
# Raised when the book comes to hold something else of the same data: a version of a price never changes its meaning.
REVISION: Final = 2
PER_REQUEST: Final = "requests_kcount"
FIRST_OF_ALL: Final = ""
# A model is taken to have one price for all its snapshots if these are all it, in one of the ways to write a date.
SNAPSHOT_DATES: Final = (("20240101", "20301231"), ("2024-01-01", "2030-12-31"))
# The same for a name that ends in a year.
SNAPSHOT_DAYS: Final = (("0101", "1231"), ("-01-01", "-12-31"))
ENDS_IN_A_YEAR: Final = re.compile(r".*-20\d\d")


def main() -> None:
    """Write the book and say what could not be taken over."""
    left_out: Counter[str] = Counter()
    entries = tuple(_provider(provider, left_out) for provider in sorted(providers, key=lambda p: str(p.id)))
    book = BookFile(
        source="genai-prices",
        version=f"{version('genai-prices')}-{REVISION}",
        providers=tuple(entry for entry in entries if entry.models),
    )
    BOOK.write_bytes(msgspec.json.encode(book))
    models = sum(len(entry.models) for entry in book.providers)
    sys.stdout.write(f"{models} models of {len(book.providers)} providers; left out: {dict(left_out)}\n")


def _provider(provider: Any, left_out: Counter[str]) -> ProviderEntry:
    models = (_model(provider, model, left_out) for model in provider.models)
    return ProviderEntry(
        id=provider.id,
        base_url=provider.api_pattern,
        models=tuple(m for m in models if m is not None),
        resells=tuple(provider.fallback_model_providers or ()),
    )


def _model(provider: Any, model: Any, left_out: Counter[str]) -> ModelEntry | None:
    prices = tuple(_history(model, left_out))
    if not prices:
        left_out["models without a token price"] += 1
        return None
    names = (model.id, *sorted(set(_listed(model.match, "equals")) - {model.id}))
    return ModelEntry(
        names=names,
        prices=prices,
        context_window=model.context_window,
        snapshots=tuple(sorted(_snapshots(provider, model, {*names, *_listed(model.match, "starts_with")}))),
    )


def _snapshots(provider: Any, model: Any, names: Iterable[str]) -> Iterator[str]:
    """Those of these names that are the same model with any date behind them."""
    for name in names:
        dates = (
            SNAPSHOT_DAYS if ENDS_IN_A_YEAR.fullmatch(name) else [[f"-{date}" for date in of] for of in SNAPSHOT_DATES]
        )
        if any(all(_is_found(provider, model, name + date) for date in form) for form in dates):
            yield name


def _is_found(provider: Any, model: Any, name: str) -> bool:
    found = provider.find_model(name)
    return found is not None and found.id == model.id


def _history(model: Any, left_out: Counter[str]) -> Iterator[DatedPrice]:
    """Oldest first. Of prices that differ by the time of day, the dearest."""
    prices = model.prices
    hour_in_cache = next((factor for part, factor in HOUR_IN_CACHE.items() if part in model.id.lower()), None)
    by_date: dict[str, list[Any]] = {}
    for conditional in prices if isinstance(prices, list) else [None]:
        constraint = getattr(conditional, "constraint", None)
        start = getattr(constraint, "start_date", None)
        price = prices if conditional is None else conditional.prices
        by_date.setdefault(FIRST_OF_ALL if start is None else start.isoformat(), []).append(price)
    for from_date, alternatives in sorted(by_date.items()):
        dated = [price for price in (_price(a, from_date, left_out) for a in alternatives) if price is not None]
        dated = [_with_hour_in_cache(price, hour_in_cache) for price in dated]
        if dated:
            yield max(dated, key=lambda price: (price.base.output, price.base.input))


def _price(price: Any, from_date: str, left_out: Counter[str]) -> DatedPrice | None:
    values = {name: value for name, value in price.__dict__.items() if value is not None}
    known = {*CLASSES.values(), PER_REQUEST}
    left_out.update(name for name in values if name not in known)
    if "input_mtok" not in values and "output_mtok" not in values:
        return None
    thresholds = sorted({tier.start for value in values.values() for tier in getattr(value, "tiers", ())})
    per_request = values.get(PER_REQUEST)
    return DatedPrice(
        from_date=from_date,
        base=_tier(values, 0),
        tiers=tuple((threshold, _tier(values, threshold)) for threshold in thresholds),
        per_request_nanousd=0 if per_request is None else _nanousd(_at(per_request, 0) / 1000),
    )


def _tier(values: dict[str, Any], prompt_tokens: int) -> Tier:
    return Tier(
        **{name: _nanousd(_at(values[source], prompt_tokens)) for name, source in CLASSES.items() if source in values}
    )


def _with_hour_in_cache(price: DatedPrice, factor: int | None) -> DatedPrice:
    if factor is None:
        return price

    def derived(tier: Tier) -> Tier:
        if tier.cache_write is None or tier.cache_write_1h is not None:
            return tier
        return msgspec.structs.replace(tier, cache_write_1h=factor * tier.input)

    tiers = tuple((threshold, derived(tier)) for threshold, tier in price.tiers)
    return msgspec.structs.replace(price, base=derived(price.base), tiers=tiers)


def _at(value: Any, threshold: int) -> Decimal:
    """The price above a threshold; a plain price is the same above all of them."""
    tiers: Iterable[Any] = getattr(value, "tiers", ())
    found = Decimal(getattr(value, "base", value))
    for tier in tiers:
        if threshold >= tier.start:
            found = tier.price
    return found


def _nanousd(usd: Decimal) -> int:
    return int((usd.quantize(PLACES) * NANOUSD_PER_USD).to_integral_value(rounding=ROUND_CEILING))


def _listed(match: Any, how: str) -> Iterator[str]:
    """Every text that a match clause lists and that stands for the model by itself. how: equals, or starts_with."""
    if (text := getattr(match, how, None)) is not None:
        yield text
    for clause in getattr(match, "or_", None) or ():
        yield from _listed(clause, how)


if __name__ == "__main__":
    main()
