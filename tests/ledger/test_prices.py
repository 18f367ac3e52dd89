"""The price book: exact names, dated, and never a guess."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.money import format_usd, parse_usd
from ledger.prices import FREE, load_book
from ledger.prices.book import BookFile, DatedPrice, ModelEntry, PriceBook, ProviderEntry
from ledger.prices.price import Price, Tier
from ledger.usage import Usage

OPENAI = "https://api.openai.com/v1"
PROXY = "http://127.0.0.1:9/v1"


def find(model, *, base_url=OPENAI, vendor="openai", date="2026-11-21"):
    return load_book().find(base_url=base_url, vendor=vendor, model=model, date=date)


def test_a_known_model_has_its_published_price_and_says_where_from():
    price = find("gpt-4o-mini")
    assert (price.base.input, price.base.cached_input, price.base.output) == (150_000_000, 75_000_000, 600_000_000)
    assert price.version.startswith("genai-prices ")
    assert "openai/gpt-4o-mini" in price.version


def test_names_are_exact_and_an_unknown_host_charges_what_the_vendor_does():
    assert find("gpt-4o-minix") is None
    assert find("GPT-4O-MINI") is None
    assert find("gpt-4o-mini", base_url=PROXY) == find("gpt-4o-mini")
    assert find("gpt-4o-mini", base_url=PROXY, vendor="") is None


def test_a_known_host_decides_by_itself():
    assert find("gpt-4o-mini", base_url="https://api.groq.com/openai/v1") is None


ANTHROPIC = "https://api.anthropic.com"


@pytest.mark.parametrize(
    ("dated", "model"),
    [
        ("claude-sonnet-4-5-20250929", "claude-sonnet-4-5"),
        ("claude-haiku-4-5-20251001", "claude-haiku-4-5"),
        ("claude-opus-4-1-20250805", "claude-opus-4-1"),
        ("claude-3-5-haiku-20241022", "claude-3-5-haiku-latest"),
        ("claude-sonnet-4-20250514", "claude-sonnet-4-0"),
        ("claude-opus-4-20250514", "claude-opus-4-0"),
    ],
)
def test_a_snapshot_that_its_vendor_dates_has_its_models_price(dated, model):
    assert find(dated, base_url=ANTHROPIC, vendor="anthropic") == find(model, base_url=ANTHROPIC, vendor="anthropic")


@pytest.mark.parametrize(
    "name",
    [
        # What is no date, or more than one behind a name.
        "claude-sonnet-4-5-2025",
        "claude-sonnet-4-5-20251301",
        "claude-sonnet-4-5-20250932",
        "claude-sonnet-4-5-2025-0929",
        "claude-sonnet-4-5-20250929-v1",
        "claude-sonnet-4-5x-20250929",
        # The data have this model with the dates of one year only.
        "claude-sonnet-4-20260514",
    ],
)
def test_a_date_that_is_none_has_no_price(name):
    assert find(name, base_url=ANTHROPIC, vendor="anthropic") is None


def test_snapshots_that_were_priced_apart_are_known_by_their_exact_names_alone():
    assert find("gpt-4o-2024-05-13").base.input > find("gpt-4o-2024-11-20").base.input == find("gpt-4o").base.input
    assert find("gpt-4o-2031-01-01") is None


def test_azure_charges_what_openai_does_where_it_has_no_price_of_its_own():
    azure = find("gpt-4o-mini", base_url="https://x.openai.azure.com/openai/v1")
    assert azure == find("gpt-4o-mini")
    assert "openai/gpt-4o-mini" in azure.version


def a_book(*prices):
    entry = ModelEntry(names=("m",), prices=prices)
    return PriceBook(
        BookFile(source="s", version="1", providers=(ProviderEntry(id="p", base_url="x", models=(entry,)),))
    )


def test_the_price_of_a_day_is_the_one_in_force_then():
    old = DatedPrice(base=Tier(input=1))
    new = DatedPrice(from_date="2026-06-01", base=Tier(input=2))
    book = a_book(old, new)
    found = {date: book.find(base_url="", vendor="p", model="m", date=date) for date in ("2026-05-31", "2026-06-01")}
    assert [price.base.input for price in found.values()] == [1, 2]
    assert found["2026-06-01"].version.endswith("from 2026-06-01")


def test_a_long_prompt_pays_the_dearer_tier_for_all_of_it():
    price = Price(version="v", base=Tier(input=10**6), tiers=((100, Tier(input=2 * 10**6)),))
    assert price.cost_nanousd(Usage(input_tokens=100)) == 100
    assert price.cost_nanousd(Usage(input_tokens=101)) == 202


def test_each_class_is_rounded_up_by_itself_and_reasoning_costs_what_output_costs_unless_said():
    price = Price(version="v", base=Tier(input=1, output=1))
    assert price.cost_nanousd(Usage(input_tokens=1, cached_tokens=1, output_tokens=1, reasoning_tokens=1)) == 4
    assert FREE.is_free
    assert not price.is_free


@pytest.mark.parametrize("text", ["-1", "nan", "inf", "1e9", "", "one", "1,5"])
def test_what_is_no_amount_is_refused(text):
    with pytest.raises(ValueError, match="dollars"):
        parse_usd(text)


def test_money_is_exact_both_ways():
    assert parse_usd("0.000123") == 123_000
    assert parse_usd("0.0000000001") == 1, "rounded up, once"
    assert format_usd(123_000) == "0.000123000"
    assert format_usd(-1) == "-0.000000001"


RATES = st.integers(0, 10**12)
TIERS = st.builds(
    Tier,
    input=RATES,
    cached_input=st.none() | RATES,
    cache_write=st.none() | RATES,
    output=RATES,
    reasoning=st.none() | RATES,
)


@given(
    st.builds(Usage, **dict.fromkeys(Usage.__struct_fields__, st.integers(0, 10**6))),
    st.builds(
        Price,
        version=st.just("v"),
        base=TIERS,
        tiers=st.lists(st.tuples(st.integers(0, 10**6), TIERS), max_size=3).map(
            lambda tiers: tuple(sorted(tiers, key=lambda tier: tier[0]))
        ),
        per_request_nanousd=st.integers(0, 10**9),
    ),
)
def test_the_parts_of_a_cost_sum_to_it_and_say_where_each_comes_from(usage, price):
    charges = price.explain(usage)
    assert sum(charge.cost_nanousd for charge in charges) == price.cost_nanousd(usage)
    assert sum(charge.tokens or 0 for charge in charges) == usage.prompt_tokens + usage.completion_tokens
    for charge in charges:
        if charge.of != "request":
            assert charge.cost_nanousd * 10**6 - charge.tokens * charge.nanousd_per_mtok in range(10**6)
    threshold = price.threshold_for(usage.prompt_tokens)
    assert threshold is None or threshold < usage.prompt_tokens
