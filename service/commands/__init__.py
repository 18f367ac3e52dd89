"""The command line: `farthing …`. Each command is one file; each says what is wrong in one line, not a traceback."""

import importlib
from importlib.metadata import version
from typing import Any, Final

import click

from service.commands.output import safe_output

# {command: what it does}, in the order of `farthing --help`. The files are imported when their command is called.
COMMANDS: Final = {
    "serve": "Run the service.",
    "check": "Validate the config and show routes, prices and ceilings.",
    "import": "A farthing.toml from another gateway's config.",
    "ask": "One generation, through the same code as the service.",
    "spend": "The spend report.",
    "latency": "The latency report.",
    "explain": "One answer's cost, from tokens to dollars.",
    "correct": "Say what an attempt really cost.",
    "reprice": "Charge past attempts at the prices of now.",
    "reconcile": "Compare with a provider's export, and settle the difference.",
    "keys": "Who may call: make, list and revoke API keys.",
    "hints": "What was learned of deployments; block, allow or prefer by hand.",
    "alerts": "Who is told of events: try it, see what was told, tell it again.",
    "verify": "Audit the ledger, read-only.",
    "backup": "Copy the ledger, while it is used.",
    "copy": "Move the ledger to another file or server.",
    "prune": "Fold old detail into closing balances.",
}
# {command: its file}, where no file can be called like it: a word of Python's, a module of its own.
_FILES: Final = {"copy": "copying", "import": "importing"}


class Commands(click.Group):
    """Loads a command's file only when it is asked for, so that `farthing --help` is there at once."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        with safe_output():
            return super().main(*args, **kwargs)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        name = _FILES.get(cmd_name, cmd_name)
        command = getattr(importlib.import_module(f"service.commands.{name}"), name)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=Commands)
@click.version_option(version("farthing"), prog_name="farthing")
def main() -> None:
    """An LLM gateway whose core is a ledger."""
