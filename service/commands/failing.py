"""How commands say what is wrong: a line for each problem on standard error, and an exit status."""

import os
import sys
from typing import NoReturn

import click

from service.config import Config, ConfigInvalid, load_config

CONFIG_WRONG = 2


def failing(*lines: str, status: int = 1) -> NoReturn:
    """Say these lines and leave."""
    for line in lines:
        click.echo(f"farthing: {line}", err=True)
    sys.exit(status)


def load_or_exit(path: str | None, **overrides: object) -> Config:
    """The config, or exit 2 with one line for each of its problems."""
    try:
        return load_config(path, os.environ, overrides={k: v for k, v in overrides.items() if v is not None})
    except ConfigInvalid as error:
        failing(*(str(problem) for problem in error.problems), status=CONFIG_WRONG)
