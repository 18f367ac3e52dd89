"""`farthing ask`: one generation through the same code as the service."""

import asyncio
import os
from contextlib import aclosing

import click
import uvloop

from ledger.errors import LedgerError, NotALedger
from ledger.money import format_usd
from router.answer import Delta
from router.errors import RouterError
from router.providers.local import LocalModelUnavailable
from router.receipt import Receipt
from router.reply import Finished, Reply
from service.assembly import open_parts
from service.clock import now_ms
from service.commands.failing import failing, load_or_exit, start_logging
from service.config import Config
from service.errors import problem_of
from service.script import new_call


@click.command()
@click.option("--config", "path", help="The config file; else $FARTHING_CONFIG, else ./farthing.toml, else none.")
@click.option("--route", help="A route, or provider:model.")
@click.option("--stream", is_flag=True, help="Print the answer as it comes.")
@click.argument("prompt")
def ask(path: str | None, route: str | None, prompt: str, *, stream: bool) -> None:
    """One generation: prints the answer, then a line with tokens, cost and cache."""
    config = load_or_exit(path)
    start_logging(config, "ERROR")
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        try:
            receipt = runner.run(_ask(config, route, prompt, stream=stream))
        except (RouterError, LedgerError) as error:
            failing(str(error) if isinstance(error, NotALedger) else problem_of(error, now_ms()).detail)
        except LocalModelUnavailable as error:
            failing(str(error))
    click.echo(_summary(receipt), err=True)


async def _ask(config: Config, route: str | None, prompt: str, *, stream: bool) -> Receipt:
    async with open_parts(config, os.environ) as parts:
        body = {"messages": [{"role": "user", "content": prompt}]}
        call = new_call(config, body, model=route, workflow="ask", stream=stream)
        reply = await parts.gateway.generate(call)
        try:
            return await _print(reply, stream=stream)
        finally:
            await reply.aclose()


async def _print(reply: Reply, *, stream: bool) -> Receipt:
    if not stream:
        finished = await reply.finished()
        click.echo("".join(choice.text or choice.refusal for choice in finished.answer.choices))
        return finished.receipt
    async with aclosing(reply.events()) as events:
        async for event in events:
            if isinstance(event, Finished):
                click.echo()
                return event.receipt
            assert isinstance(event, Delta)
            click.echo(event.text or event.refusal, nl=False)
    raise AssertionError("a reply ends with its receipt, or raises")


def _summary(receipt: Receipt) -> str:
    usage = receipt.usage
    tokens = f"{usage.prompt_tokens} + {usage.completion_tokens} tokens" if usage is not None else "tokens unknown"
    cost = f"${format_usd(receipt.cost_nanousd)} ({receipt.cost_basis})"
    who, took = f"{receipt.provider}:{receipt.model}", f"{receipt.latency_ms:.0f} ms"
    return f"— {who} · {tokens} · {cost} · cache {receipt.cache} · {took}"
