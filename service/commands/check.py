"""`farthing check`."""

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Final

import click
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from ledger.money import format_usd
from ledger.prices import Tier, load_book
from router.deployments import Deployment, Provider, Route
from router.faults import Fault, Outcome
from service.commands.failing import load_or_exit
from service.commands.tables import plain_console
from service.config.catalog import Catalog

if TYPE_CHECKING:
    from router.providers.client import Upstream

PROBE_TIMEOUT_S: Final = 15.0
PROBE_FAILED: Final = 1
_UNKNOWN: Final = "-"
_VERDICTS: Final = {
    Outcome.CONNECT_FAILED: "not reachable",
    Outcome.AUTH_REFUSED: "key refused",
    Outcome.NOT_SUPPORTED: "reachable, but lists no models",
}

ListModels = Callable[[Provider], Awaitable[list[str]]]


@click.command()
@click.option("--config", "path", help="The config file; else $FARTHING_CONFIG, else ./farthing.toml, else none.")
@click.option("--probe", is_flag=True, help="Also ask each provider for its models; exit 1 if one does not answer.")
def check(path: str | None, *, probe: bool) -> None:
    """Validate the config and show routes, prices and ceilings."""
    catalog = Catalog(load_or_exit(path), load_book(), now_ms=time.time_ns() // 1_000_000)
    console = plain_console()
    for route in catalog.routes:
        console.print(_route_table(route))
    if catalog.ceilings:
        console.print(_ceilings_table(catalog))
    for warning in catalog.warnings:
        console.print(f"warning: {warning}", style="yellow")
    console.print("The config is valid.", style="green")
    if probe:
        answers = asyncio.run(_probe(catalog.providers, catalog.routes))
        console.print(_probe_table(answers))
        if not all(reached for _, reached, _ in answers):
            sys.exit(PROBE_FAILED)


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
    return "" if target.supports is None else ", ".join(sorted(target.supports)) or "nothing"


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
    "context": lambda target: _count(target.context_window),
    "max out": lambda target: _count(target.max_output_tokens),
    "supports": _supports,
    "price from": _source,
}


def _ceilings_table(catalog: Catalog) -> Table:
    table = _table("ceilings (dollars)", "scope", "window")
    table.add_column("limit", justify="right")
    table.add_column("when tight")
    downgrades = any(ceiling.downgrade_at is not None for ceiling in catalog.ceilings)
    if downgrades:
        table.add_column("cheaper from")
    for ceiling in catalog.ceilings:
        share = () if not downgrades else ("" if ceiling.downgrade_at is None else f"{ceiling.downgrade_at:.0%}",)
        table.add_row(ceiling.scope, ceiling.window, _usd(ceiling.limit_nanousd), ceiling.when_tight, *share)
    return table


def _probe_table(answers: Iterable[tuple[str, bool, str]]) -> Table:
    table = _table("providers", "provider")
    table.add_column("answer", overflow="fold")
    for name, reached, said in answers:
        table.add_row(name, said, style=None if reached else "red")
    return table


async def _probe(providers: Sequence[Provider], routes: Iterable[Route]) -> list[tuple[str, bool, str]]:
    """[(provider, whether it offers its models, what it said)], asked all at once."""
    from router.providers.remote import remote_dialects
    from router.providers.transport import open_transport

    wanted = {(target.provider.name, target.model): None for route in routes for target in route.targets}
    waiting = Console(stderr=True).status(f"asking {len(providers)} providers for their models")

    async def answer(remote: "Mapping[str, Upstream]", provider: Provider) -> tuple[str, bool, str]:
        models = [model for name, model in wanted if name == provider.name]
        if provider.dialect == "local":
            return provider.name, True, "runs with the service"
        return provider.name, *await _ask(remote[provider.dialect].list_models, provider, models)

    with waiting:
        async with open_transport(limit=len(providers) + 1) as transport:
            remote = remote_dialects(transport)
            return list(await asyncio.gather(*(answer(remote, provider) for provider in providers)))


async def _ask(list_models: ListModels, provider: Provider, wanted: Iterable[str]) -> tuple[bool, str]:
    """Whether the provider offers its models, and in words. wanted: those that routes name."""
    try:
        async with asyncio.timeout(PROBE_TIMEOUT_S):
            models = await list_models(provider)
    except Fault as fault:
        status = "" if fault.status is None else f" ({fault.status})"
        return False, f"{_VERDICTS.get(fault.outcome, 'reachable, but failing')}{status}: {fault.message}"
    except TimeoutError:
        return False, f"no answer within {PROBE_TIMEOUT_S:.0f} s"
    missing = ", ".join(model for model in wanted if model not in models)
    count = f"{len(models)} model{'' if len(models) == 1 else 's'}"
    return True, f"reachable, {count}" + (f"; not among them: {missing}" if missing else "")


def _table(title: str, *columns: str) -> Table:
    return Table(*columns, title=title, title_justify="left", title_style="bold", box=SIMPLE)


def _usd(nanousd: int) -> str:
    """Exact, with two places at least."""
    whole, _, rest = format_usd(nanousd).partition(".")
    return f"{int(whole):,}.{rest.rstrip('0').ljust(2, '0')}"
