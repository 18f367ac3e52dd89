"""`farthing import …`: the configs of other gateways, in Farthing's words."""

from pathlib import Path
from typing import Final

import click

from service.commands.failing import failing
from service.litellm import Unreadable, read_source, translate

UNREADABLE: Final = 2


@click.group()
def importing() -> None:
    """From another gateway's config to a farthing.toml, on standard output."""


@importing.command()
@click.argument("config", type=click.Path(path_type=Path))
def litellm(config: Path) -> None:
    """From a LiteLLM proxy's config.yaml. What has no equivalent is a comment at the end.

    Exit 2: it cannot be read.
    """
    try:
        done = translate(read_source(config))
    except Unreadable as error:
        failing(str(error), status=UNREADABLE)
    # TOML is UTF-8, whatever the locale.
    click.echo(done.text.encode(), nl=False)
    click.echo(
        f"farthing: {done.providers} providers, {done.routes} routes; {done.left} settings have no equivalent and are"
        " comments at the end",
        err=True,
    )
