"""`farthing check`."""

import asyncio
import sys
from collections.abc import Iterable

import click
from rich.console import Console
from rich.table import Table

from ledger.money import NANOUSD_PER_USD
from ledger.prices import load_book
from router.deployments import Deployment, Provider
from router.faults import Fault
from router.providers.openai import OpenAIDialect
from router.providers.transport import open_transport
from service.assembly import now_ms
from service.commands.failing import load_or_exit
from service.config.catalog import Catalog


@click.command()
@click.option("--config", "path", help="The config file; else $FARTHING_CONFIG, else ./farthing.toml, else none.")
@click.option("--probe", is_flag=True, help="Also ask each provider for its models.")
def check(path: str | None, *, probe: bool) -> None:
    """Validate the config and show routes, prices and ceilings."""
    config = load_or_exit(path)
    catalog = Catalog(config, load_book(), now_ms=now_ms())
    console = Console(soft_wrap=not sys.stdout.isatty())
    for route in catalog.routes:
        console.print(_route_table(route.name, route.targets))
    if catalog.ceilings:
        console.print(_ceilings_table(catalog))
    for warning in catalog.warnings:
        console.print(f"warning: {warning}", style="yellow", markup=False)
    if probe:
        console.print(asyncio.run(_probe(catalog.providers)))
    console.print("the config is valid", style="green")


def _route_table(name: str, targets: Iterable[Deployment]) -> Table:
    table = Table(title=f"route {name}", title_justify="left")
    for column in (
        "order",
        "deployment",
        "in $/Mtok",
        "cached",
        "out $/Mtok",
        "window",
        "most out",
        "supports",
        "price",
    ):
        table.add_column(column, justify="left" if column in {"deployment", "supports", "price"} else "right")
    for order, target in enumerate(targets, 1):
        price = target.price
        base = price.base if price is not None else None
        amounts = (base.input, base.cached_input, base.output) if base is not None else (None, None, None)
        table.add_row(
            str(order),
            target.id,
            *(_usd(amount) for amount in amounts),
            _count(target.context_window),
            _count(target.max_output_tokens),
            ", ".join(sorted(target.supports)) if target.supports is not None else "everything",
            price.version if price is not None else "none: refused",
        )
    return table


def _ceilings_table(catalog: Catalog) -> Table:
    table = Table("scope", "window", title="ceilings", title_justify="left")
    table.add_column("limit $", justify="right")
    for ceiling in catalog.ceilings:
        table.add_row(ceiling.scope, ceiling.window, f"{ceiling.limit_nanousd / NANOUSD_PER_USD:,.2f}")
    return table


async def _probe(providers: Iterable[Provider]) -> Table:
    table = Table("provider", "answer", title="probe", title_justify="left")
    async with open_transport(limit=16) as transport:
        dialect = OpenAIDialect(transport)
        for provider in providers:
            table.add_row(provider.name, await _probe_one(dialect, provider))
    return table


async def _probe_one(dialect: OpenAIDialect, provider: Provider) -> str:
    if provider.dialect == "local":
        return "starts with the service"
    try:
        async with asyncio.timeout(provider.connect_timeout_s + provider.timeout_s):
            models = await dialect.list_models(provider)
    except Fault as fault:
        return f"{fault.outcome.value}: {fault.message}"
    except TimeoutError:
        return "stalled: no answer in time"
    return f"{len(models)} models"


def _usd(nanousd: int | None) -> str:
    return "-" if nanousd is None else f"{nanousd / NANOUSD_PER_USD:,.4g}"


def _count(tokens: int | None) -> str:
    return "-" if tokens is None else f"{tokens:,}"
