"""How commands speak to people on standard error: a line for each problem with an exit status, and how far they are."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NoReturn
from urllib.parse import urlsplit

import click

from ledger.valkey.address import cache_server_of
from service.config import Config, ConfigInvalid, load_books, load_config, load_ledger
from service.config.alerts import secrets_of
from telemetry import setup_logging

CONFIG_WRONG = 2


def failing(*lines: str, status: int = 1) -> NoReturn:
    """Say these lines and leave."""
    for line in lines:
        click.echo(f"farthing: {line}", err=True)
    sys.exit(status)


def start_logging(config: Config, level: str) -> None:
    """Log to standard error, and never a key or password that the config has, or where alerts go."""
    secrets = setup_logging(sys.stderr, level)
    if config.cache.url and (password := cache_server_of(config.cache.url).password):
        secrets.hide(password)
    for provider in config.providers:
        if provider.api_key:
            secrets.hide(provider.api_key)
        if provider.proxy and (password := urlsplit(provider.proxy).password):
            secrets.hide(password)
    for target in config.alerts:
        for secret in secrets_of(target):
            secrets.hide(secret)


def load_or_exit(path: str | None, **overrides: object) -> Config:
    """The config, or exit 2 with one line for each of its problems."""
    given = {name: value for name, value in overrides.items() if value is not None}
    return _or_exit(lambda: load_config(path, os.environ, overrides=given))


def load_ledger_or_exit(path: str | None) -> Config:
    """The same of the ledger alone: see `load_ledger`."""
    return _or_exit(lambda: load_ledger(path, os.environ))


def load_books_or_exit(path: str | None) -> Config:
    """The same of the ledger, prices and names: see `load_books`."""
    return _or_exit(lambda: load_books(path, os.environ))


def _or_exit(load: Callable[[], Config]) -> Config:
    try:
        return load()
    except ConfigInvalid as error:
        failing(*error.lines, status=CONFIG_WRONG)


@contextmanager
def progress(title: str, *, is_on: bool = True) -> Iterator[Callable[[str], None]]:
    """Say on standard error how far a long command is, where that is a terminal. Any thread may tell it."""
    from rich.console import Console

    console = Console(stderr=True)
    if is_on and console.is_terminal:
        with console.status(title) as status:
            yield lambda step: status.update(f"{title}: {step}")
    else:
        yield lambda _: None
