"""`farthing check`."""

import asyncio
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Final

import click
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from ledger.ceilings import Ceiling
from ledger.money import format_usd
from ledger.prices import Tier, load_book
from ledger.valkey.address import cache_server_of
from router.capabilities import CAPABILITIES
from router.deployments import Deployment, Provider, Route
from router.providers.local import LocalModelUnavailable, find_model
from service.alerts.targets import Target, targets_of
from service.clock import now_ms
from service.commands.failing import load_or_exit
from service.commands.tables import plain_console
from service.config.catalog import Catalog

if TYPE_CHECKING:
    from service.reachability import Reached

PROBE_FAILED: Final = 1
_UNKNOWN: Final = "-"


@click.command()
@click.option("--config", "path", help="The config file; else $FARTHING_CONFIG, else ./farthing.toml, else none.")
@click.option("--probe", is_flag=True, help="Also ask each provider for its models; exit 1 if one does not answer.")
def check(path: str | None, *, probe: bool) -> None:
    """Validate the config and show routes, prices and ceilings."""
    config = load_or_exit(path)
    catalog = Catalog(config, load_book(), now_ms=now_ms())
    console = plain_console()
    for route in catalog.routes:
        console.print(_route_table(route))
    if catalog.ceilings:
        console.print(_ceilings_table(catalog))
    if config.alerts:
        console.print(_alerts_table(targets_of(config.alerts)))
    if config.cache.url:
        console.print(
            f"stored answers: at {cache_server_of(config.cache.url)}, and in the ledger while that takes none"
        )
    for warning in (*catalog.warnings, *_missing_models(catalog.providers)):
        console.print(f"warning: {warning}", style="yellow")
    console.print("The config is valid.", style="green")
    if probe:
        answers = asyncio.run(_probe(catalog.providers, catalog.routes))
        console.print(_probe_table(answers))
        if not all(reached.is_well for reached in answers):
            sys.exit(PROBE_FAILED)


def _missing_models(providers: Iterable[Provider]) -> Iterator[str]:
    """What to do where a local model's file is not on this machine. It may be on the one that is to serve it."""
    for provider in providers:
        if provider.dialect == "local":
            try:
                find_model(provider.model_path)
            except LocalModelUnavailable as error:
                yield f"{provider.name}: {error}"


def _route_table(route: Route) -> Table:
    """A row for each deployment. What is nowhere out of the ordinary has no column."""
    table = _table(f"route {route.name}{_strategy(route)} (dollars for a million tokens)")
    columns = {name: [show(target) for target in route.targets] for name, show in _COLUMNS.items()}
    shown = {name: cells for name, cells in columns.items() if any(cells)}
    for name in shown:
        is_text = name in {"deployment", "supports", "price from"}
        table.add_column(name, justify="left" if is_text else "right", overflow="fold", min_width=len(name))
    for row in zip(*shown.values(), strict=True):
        table.add_row(*row)
    return table


def _strategy(route: Route) -> str:
    """Empty for the usual one."""
    if route.strategy == "ordered":
        return ""
    weights = ":".join(map(str, route.weights))
    return f", {route.strategy} {weights}".rstrip() if route.strategy == "weighted" else f", {route.strategy}"


def _tier_price(show: Callable[[Tier], int | None]) -> Callable[[Deployment], str]:
    """For a column of prices. Empty where a class has none of its own."""

    def shown(target: Deployment) -> str:
        if target.price is None:
            return _UNKNOWN
        amount = show(target.price.base)
        return "" if amount is None else _usd(amount)

    return shown


def _count(number: int | None) -> str:
    return _UNKNOWN if number is None else f"{number:,}"


def _supports(target: Deployment) -> str:
    if target.supports is None:
        return ""
    lacks = CAPABILITIES - target.supports
    return f"all but {', '.join(lacks)}" if len(lacks) == 1 else ", ".join(sorted(target.supports)) or "nothing"


def _source(target: Deployment) -> str:
    price = target.price
    if price is None:
        return "no price: refused"
    dearer = ", ".join(f"more above {threshold:,} tokens" for threshold, _ in price.tiers)
    each = f"{_usd(price.per_request_nanousd)} a request" if price.per_request_nanousd else ""
    return "; ".join(part for part in (price.version, dearer, each) if part)


_COLUMNS: Final[dict[str, Callable[[Deployment], str]]] = {
    "deployment": lambda target: target.id,
    "input": _tier_price(lambda tier: tier.input),
    "cached": _tier_price(lambda tier: tier.cached_input),
    "output": _tier_price(lambda tier: tier.output),
    "reasoning": _tier_price(lambda tier: tier.reasoning),
    "cache write": _tier_price(lambda tier: tier.cache_write),
    "cache write 1h": _tier_price(lambda tier: tier.cache_write_1h),
    "input audio": _tier_price(lambda tier: tier.input_audio),
    "cached audio": _tier_price(lambda tier: tier.cached_audio),
    "input image": _tier_price(lambda tier: tier.input_image),
    "output audio": _tier_price(lambda tier: tier.output_audio),
    "output image": _tier_price(lambda tier: tier.output_image),
    "context": lambda target: _count(target.context_window),
    "max out": lambda target: _count(target.max_output_tokens),
    "supports": _supports,
    "price from": _source,
}


def _ceilings_table(catalog: Catalog) -> Table:
    table = _table("ceilings", "scope", "window")
    table.add_column("limit", justify="right")
    table.add_column("when tight")
    table.add_column("warns at")
    downgrades = any(ceiling.downgrade_at is not None for ceiling in catalog.ceilings)
    if downgrades:
        table.add_column("cheaper from")
    for ceiling in catalog.ceilings:
        share = () if not downgrades else ("" if ceiling.downgrade_at is None else f"{ceiling.downgrade_at:.0%}",)
        warnings = ", ".join(f"{100 * warning:.4g}%" for warning in ceiling.shares)
        table.add_row(ceiling.scope, ceiling.window, _limit(ceiling), ceiling.when_tight, warnings, *share)
    return table


def _limit(ceiling: Ceiling) -> str:
    return f"${_usd(ceiling.limit)}" if ceiling.unit == "usd" else f"{ceiling.limit:,} {ceiling.unit}"


def _alerts_table(targets: Iterable[Target]) -> Table:
    table = _table("alerts", "target", "address", "events", "signed")
    for target in targets:
        is_signed = "" if target.kind == "apprise" else "no" if target.key is None else "yes"
        table.add_row(target.name, target.shown, ", ".join(target.events), is_signed)
    return table


def _probe_table(answers: "Iterable[Reached]") -> Table:
    table = _table("providers", "provider")
    table.add_column("answer", overflow="fold")
    for reached in answers:
        table.add_row(reached.provider, reached.said, style=None if reached.is_well else "red")
    return table


async def _probe(providers: Sequence[Provider], routes: Iterable[Route]) -> "list[Reached]":
    """What each provider answers, in their order."""
    from service.reachability import ask_providers

    with Console(stderr=True).status(f"asking {len(providers)} providers for their models"):
        answers = {reached.provider: reached async for reached in ask_providers(providers, routes)}
    return [answers[provider.name] for provider in providers]


def _table(title: str, *columns: str) -> Table:
    return Table(*columns, title=title, title_justify="left", title_style="bold", box=SIMPLE)


def _usd(nanousd: int) -> str:
    """Exact, with two places at least."""
    whole, _, rest = format_usd(nanousd).partition(".")
    return f"{int(whole):,}.{rest.rstrip('0').ljust(2, '0')}"
