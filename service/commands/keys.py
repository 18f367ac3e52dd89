"""`farthing keys`."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from typing import TypeVar

import click
import msgspec
from rich.box import SIMPLE
from rich.table import Table
from rich.text import Text

from ledger.apikeys import ROLES, ApiKey, PepperDiffers
from ledger.ceilings import Ceiling
from ledger.errors import LedgerError
from ledger.ledger import open_ledger, open_reports
from ledger.money import format_usd
from ledger.prices import load_book
from ledger.reports import iso
from router.errors import UnknownModel
from service.auth.issuing import KeyWish, WrongWish, key_report, new_key, state_of
from service.auth.keyring import Keyring, open_keyring
from service.auth.secret import new_secret, without_secrets
from service.clock import now_ms
from service.commands.correcting import REFUSED, UNREADABLE, open_present_ledger
from service.commands.failing import failing, load_books_or_exit, load_ledger_or_exit
from service.commands.tables import plain_console, printable
from service.config import Config
from service.config.catalog import Catalog
from service.errors import problem_of

Result = TypeVar("Result")
_CONFIG = click.option(
    "--config", "path", help="The config file; else $FARTHING_CONFIG, else ./farthing.toml, else none."
)
_CEILINGS = "The most it may spend, or use: 50/month, '100000 tokens/minute', '60 calls/minute'; several times."
_JSON = click.option("--json", "as_json", is_flag=True, help="As /keys answers.")


@click.group()
def keys() -> None:
    """Who may call: make, list and revoke API keys, with the service running or not."""


@keys.command()
@_CONFIG
@click.option("--name", required=True, help="What it is for; shown wherever the key is.")
@click.option("--team", default="", help="Whose spending it counts as.")
@click.option("--role", type=click.Choice(ROLES), default="caller", show_default=True, help="What it may do.")
@click.option("--ceiling", "ceilings", multiple=True, metavar="50/month", help=_CEILINGS)
@click.option("--route", "routes", multiple=True, help="A route, or provider:model, that it may ask for; else all.")
@click.option("--expires", default="", metavar="30d|ISO", help="When it ends.")
@_JSON
def create(path: str | None, *, as_json: bool, **wishes: object) -> None:
    """Make a key. Its secret is printed once, alone on standard output, and kept nowhere."""
    config = load_books_or_exit(path)
    secret, made_at_ms = new_secret(), now_ms()
    try:
        resolve = Catalog(config, load_book(), now_ms=made_at_ms).resolve
        key = new_key(msgspec.convert(wishes, KeyWish), secret, resolve=resolve, now_ms=made_at_ms)
    except WrongWish as error:
        failing(f"{error.field}: {error}", status=REFUSED)
    except UnknownModel as error:
        failing(f"routes: {problem_of(error, made_at_ms).detail}", status=REFUSED)
    _on_keyring(config, lambda keyring: keyring.create(key, secret), makes_ledger=True)
    text = secret.text.decode("ascii")
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode({**key_report(key, made_at_ms), "secret": text})))
        return
    click.echo(text)
    click.echo(
        f"This is the key {key.key_id} ({key.role}). Its secret is not shown again: keep it now, where only its holder "
        "reads it.\nSend it as `Authorization: Bearer …` or `x-api-key: …`, or give it to an SDK as its api_key.\n"
        f"It ends with: farthing keys revoke {key.key_id}",
        err=True,
    )


@keys.command(name="list")
@_CONFIG
@_JSON
def list_keys(path: str | None, *, as_json: bool) -> None:
    """Every key there ever was, without its secret."""
    config = load_ledger_or_exit(path)

    async def read() -> list[ApiKey]:
        async with open_reports(config.ledger.url, clock_ms=now_ms) as reports:
            return await reports.api_keys()

    try:
        found = asyncio.run(read())
    except LedgerError as error:
        failing(str(error), status=UNREADABLE)
    if as_json:
        listed = [key_report(key, now_ms()) for key in found]
        click.echo(msgspec.json.format(msgspec.json.encode({"keys": listed})))
    elif found:
        plain_console().print(keys_table(found, now_ms()))
    else:
        click.echo("there are no keys; make one with: farthing keys create --name NAME")


@keys.command()
@_CONFIG
@click.argument("key_id", metavar="ID")
def revoke(path: str | None, key_id: str) -> None:
    """Revoke a key, for good. Once this returns, no process takes it any more; a second time changes nothing."""
    config = load_ledger_or_exit(path)
    key = _on_keyring(config, lambda keyring: keyring.revoke(key_id), makes_ledger=False)
    if key is None:
        failing(f"there is no key {without_secrets(key_id)!r}; see: farthing keys list", status=REFUSED)
    click.echo(f"{key.key_id} ({printable(key.name)}) is revoked since {iso(key.revoked_at_ms)}")


def keys_table(keys: list[ApiKey], now_ms: int) -> Table:
    """A line for each key."""
    table = Table(title="keys", title_justify="left", title_style="bold", box=SIMPLE)
    # It is copied from here to be revoked.
    table.add_column("id", no_wrap=True)
    for heading in ("name", "team", "role", "ceilings", "models", "made", "state"):
        table.add_column(heading, overflow="fold")
    for key in keys:
        ceilings = ", ".join(f"{_limit(ceiling)} a {ceiling.window}" for ceiling in key.ceilings)
        cells = (key.key_id, key.name, key.team, key.role, ceilings, ", ".join(key.routes) or "all")
        moments = (iso(key.created_at_ms), _state(key, now_ms))
        table.add_row(*(Text(printable(cell)) for cell in (*cells, *moments)))
    return table


def _state(key: ApiKey, now_ms: int) -> str:
    state = state_of(key, now_ms)
    if state == "revoked":
        return f"revoked {iso(key.revoked_at_ms)}"
    if key.expires_at_ms is None:
        return state
    return f"{'until' if state == 'in force' else 'expired'} {iso(key.expires_at_ms)}"


def _limit(ceiling: Ceiling) -> str:
    """As `--ceiling` takes it."""
    if ceiling.unit != "usd":
        return f"{ceiling.limit} {ceiling.unit}"
    whole, _, places = format_usd(ceiling.limit).partition(".")
    return f"${whole}.{places.rstrip('0'):0<2}"


def _on_keyring(config: Config, work: Callable[[Keyring], Awaitable[Result]], *, makes_ledger: bool) -> Result:
    """Do this on the ledger's file. Exit 2: it makes no sense there; 4: the ledger is not there, or takes no writes."""

    async def run() -> Result:
        url = config.ledger.url
        async with open_ledger(url, clock_ms=now_ms) if makes_ledger else open_present_ledger(config) as ledger:
            return await work(open_keyring(config, ledger, os.environ))

    try:
        return asyncio.run(run())
    except PepperDiffers as error:
        failing(problem_of(error, now_ms()).detail, status=REFUSED)
    except LedgerError as error:
        failing(str(error), status=UNREADABLE)
