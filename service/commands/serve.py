"""`farthing serve`."""

import errno
import gc
import logging
import os
import socket
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import click

from ledger.errors import NotALedger
from ledger.ledger import check_ledger
from ledger.prices import load_book
from router.providers.local import LocalModelUnavailable
from service.clock import now_ms
from service.commands.failing import failing, load_or_exit, start_logging
from service.config import Config, config_file, load_config
from service.config.addresses import in_url
from service.config.catalog import Catalog
from service.hangup import hold_hangups
from service.workers import Workers

log = logging.getLogger(__name__)


@click.command()
@click.option("--config", "path", help="The config file; else $FARTHING_CONFIG, else ./farthing.toml, else none.")
@click.option("--host", help="Listen here instead of where the config says.")
@click.option("--port", type=click.IntRange(0, 65535), help="Listen on this port; 0 is any free one.")
@click.option("--workers", type=click.IntRange(1, 64), help="Worker processes.")
def serve(path: str | None, host: str | None, port: int | None, workers: int | None) -> None:
    """Run the service."""
    hold_hangups()
    path = config_file(path, os.environ)
    config = load_or_exit(path, host=host, port=port, workers=workers)
    start_logging(config, "INFO")
    try:
        check_ledger(config.ledger.url)
    except NotALedger as error:
        failing(str(error))
    try:
        with _loading():
            from service.server import listen

        listening = listen(config.server.host, config.server.port)
    except OSError as error:
        failing(f"cannot listen on {in_url(config.server.host)}:{config.server.port}: {_why(error)}")
    for warning in Catalog(config, load_book(), now_ms=now_ms()).warnings:
        log.warning("%s", warning)
    bound = listening.getsockname()
    click.echo(
        f"farthing listens on http://{in_url(config.server.host)}:{bound[1]} — routes: {_names(config)}", err=True
    )
    if config.server.workers == 1:
        sys.exit(run_worker(config, listening, partial(read_again, path, host=host, port=port, workers=workers)))
    arguments = _arguments(path, config.server.host, bound[1])
    sys.exit(Workers(config.server.workers, arguments, os.environ, listening).run(drain_s=config.server.drain_s))


def read_again(path: str | None, **overrides: object) -> Config:
    """The config as it is now; from here on none of its keys is logged. Raises ConfigInvalid."""
    given = {key: value for key, value in overrides.items() if value is not None}
    config = load_config(path, os.environ, overrides=given, is_again=True)
    start_logging(config, "INFO")
    return config


def run_with_arguments(arguments: Sequence[str], listening: socket.socket) -> int:
    """Serve as a worker, with the arguments that its parent gave it. Returns the exit status."""
    host, port, *path = arguments
    reading = partial(read_again, path[0] if path else None, host=host, port=int(port))
    config = load_or_exit(path[0] if path else None, host=host, port=int(port))
    start_logging(config, "INFO")
    return run_worker(config, listening, reading)


def run_worker(config: Config, listening: socket.socket, reading: Callable[[], Config]) -> int:
    """Serve on this socket until told to stop. Returns the exit status."""
    with _loading():
        from service.server import serve as serve_on

    try:
        serve_on(config, reading, os.environ, listening)
    except (NotALedger, LocalModelUnavailable) as error:
        failing(str(error))
    return 0


@contextmanager
def _loading() -> Iterator[None]:
    """While the service's code is loaded: all of it stays, so that nobody need look for garbage in it, now or later.

    httpx would bring a command line of its own, with pygments and rich's pictures; without it, it does what is done
    where those are not installed.
    """
    sys.modules.setdefault("httpx._main", None)  # type: ignore[arg-type]  # As `import` has what is not to be found.
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def _why(error: OSError) -> str:
    """In the system's words, without Python's, which repeat the address."""
    words = str(error.strerror).partition(" (while ")[0]
    if error.errno in {errno.EADDRINUSE, errno.EACCES}:
        return f"{words}; --port takes another one"
    return f"{words}; --host takes another one: 127.0.0.1 is this machine alone, 0.0.0.0 every address that it has"


def _arguments(path: str | None, host: str, port: int) -> list[str]:
    return [host, str(port), *([path] if path else [])]


def _names(config: Config) -> str:
    return ", ".join(route.name for route in config.routes)
