"""`farthing correct`."""

import click

from ledger.corrections import Charged, Correction, Corrector, NotCorrectable
from ledger.money import format_usd, parse_usd
from ledger.usage import Usage
from service.commands.correcting import REFUSED, with_corrector
from service.commands.failing import failing, load_ledger_or_exit


@click.command()
@click.argument("attempt", metavar="ID")
@click.option("--cost-usd", required=True, help="What it cost in all, like 0.0123.")
@click.option("--reason", required=True, help="Why; it is kept with the line.")
@click.option("--usage", help="Its tokens, where the ledger does not know them: input=10,output=5.")
@click.option("--dry-run", is_flag=True, help="Say what would be written, and write nothing.")
@click.option("--config", "path", help="The config file; else $FARTHING_CONFIG, else ./farthing.toml, else none.")
def correct(attempt: str, cost_usd: str, reason: str, usage: str | None, path: str | None, *, dry_run: bool) -> None:
    """Say what an attempt really cost: the difference becomes a line of its own, in the windows of its hold.

    ID is an attempt, gen_….1, or a call that had only one. Safe while the service runs; doing it twice changes nothing.
    """
    config = load_ledger_or_exit(path)
    try:
        cost_nanousd = parse_usd(cost_usd)
        tokens = None if usage is None else read_usage(usage)
    except ValueError as error:
        failing(str(error), status=REFUSED)
    if not reason.strip():
        failing("a correction needs a reason", status=REFUSED)

    async def work(corrector: Corrector) -> tuple[Charged, list[int]]:
        before = await corrector.find(await _hold_id(corrector, attempt))
        correction = Correction(
            hold_id=before.hold_id,
            cost_nanousd=cost_nanousd,
            basis="provider_reported",
            reason=reason.strip(),
            price_version=before.price_version,
            usage=tokens,
        )
        return before, [] if dry_run else await corrector.correct([correction])

    before, numbers = with_corrector(config, work)
    difference = cost_nanousd - before.cost_nanousd
    click.echo(f"{before.hold_id} at {before.deployment}: {format_usd(before.cost_nanousd)} ({before.basis})")
    if dry_run:
        click.echo(f"would be {format_usd(cost_nanousd)}, a line of {format_usd(difference)}")
    elif numbers:
        click.echo(f"is now {format_usd(cost_nanousd)}: line {numbers[0]} of {format_usd(difference)}")
    else:
        click.echo("is so already: nothing was written")


def read_usage(text: str) -> Usage:
    """Tokens by class from `input=10,output=5`. Raises ValueError."""
    known = {name.removesuffix("_tokens"): name for name in Usage.__struct_fields__}
    counts: dict[str, int] = {}
    for part in text.split(","):
        name, _, count = part.partition("=")
        if name.strip() not in known or not count.strip().isdecimal():
            raise ValueError(f"{part!r} is no token count; write input=10,output=5 with {', '.join(known)}")
        counts[known[name.strip()]] = int(count)
    return Usage(**counts)


async def _hold_id(corrector: Corrector, attempt: str) -> str:
    """The one attempt that is meant. Raises NotCorrectable, naming the attempts of a call that had several."""
    attempts = await corrector.attempts_of(attempt)
    if not attempts:
        return attempt
    if len(attempts) == 1:
        return attempts[0][0]
    listed = "; ".join(
        f"{hold_id} at {deployment} ({outcome or state})" for hold_id, deployment, state, outcome in attempts
    )
    raise NotCorrectable(f"{attempt} had {len(attempts)} attempts, name one: {listed}")
