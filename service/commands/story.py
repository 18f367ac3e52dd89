"""One call's account as people read it: each attempt's tokens at their prices, and what was put right later."""

from collections.abc import Iterator
from typing import Any, Final

from rich.box import SIMPLE
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from ledger.money import format_usd
from service.commands.tables import printable

Story = dict[str, Any]

_BASES: Final = {
    "provider_reported": "the provider said what it cost",
    "priced_usage": "tokens as the provider counted them, at the price on record",
    "estimated": "estimated: the provider gave no counts",
    "unknown": "not known: the whole hold is charged until somebody learns better",
    "free": "free",
}
_KINDS: Final = {"settlement": "settled", "lapse": "lapsed: its process died", "correction": "corrected"}


def story_view(story: Story) -> Group:
    """The story of `GET /ledger/generations/{id}`. Names that callers chose never speak to the terminal."""
    return Group(*_head(story), *(view for attempt in story["attempts"] for view in _attempt(attempt)), *_foot(story))


def _head(story: Story) -> Iterator[RenderableType]:
    outcome = story["outcome"] or "still open"
    latency = "" if story["latency_ms"] is None else f", {story['latency_ms']:,.1f} ms"
    yield _line(f"{story['id']}: {story['route']} -> {story['deployment']}, {outcome}{latency}", style="bold")
    who = ", ".join(f"{name} {story[name]}" for name in ("key", "team", "user", "workflow", "run") if story[name])
    yield _line(f"asked {story['created_at']}" + (f" by {who}" if who else ""))
    yield _line(f"trace {story['trace_id']}")
    if story["cache"] in {"hit", "coalesced"}:
        whose = "the stored answer" if story["cache"] == "hit" else "the answer in flight"
        yield _line(f"got {whose} of {story['served_by']}: it cost nothing and saved {_dollars(story['saved_usd'])}")


def _attempt(attempt: Story) -> Iterator[RenderableType]:
    ended = attempt["outcome"] or "in flight"
    status = "" if attempt["status"] is None else f" (HTTP {attempt['status']})"
    yield Text()
    yield _line(f"attempt {attempt['attempt']}: {attempt['deployment']}, {ended}{status}", style="bold")
    if attempt["error"]:
        yield _line(f"  {attempt['error']}")
    yield _line(f"  held {_dollars(attempt['held_usd'])} at prices of {attempt['price_version']}")
    if attempt["state"] == "held":
        yield _line("  nothing is charged yet")
    if attempt["state"] == "released":
        yield _line("  the hold was given back: nothing was charged")
    for posting in attempt["postings"]:
        yield from _posting(posting)
    if len(attempt["postings"]) > 1:
        yield _line(f"  cost of this attempt: {_dollars(attempt['cost_usd'])}")


def _posting(posting: Story) -> Iterator[RenderableType]:
    basis = _BASES.get(posting["cost_basis"], posting["cost_basis"])
    kind = _KINDS.get(posting["kind"], posting["kind"])
    yield _line(f"  posting {posting['seq']}, {kind}: {_dollars(posting['cost_usd'])}; {basis}")
    if posting["reason"]:
        yield _line(f"    reason: {posting['reason']}")
    if posting["overrun_nanousd"]:
        yield _line(f"    {_dollars(format_usd(posting['overrun_nanousd']))} more than was held")
    arithmetic = posting["arithmetic"]
    if arithmetic is not None:
        yield from _arithmetic(posting, arithmetic)
    elif posting["kind"] != "correction":
        known = "its usage is not known" if posting["input_tokens"] is None else "this price is not on record"
        yield _line(f"    no arithmetic: {known} (prices of {posting['price_version']})")


def _arithmetic(posting: Story, arithmetic: Story) -> Iterator[RenderableType]:
    above = arithmetic["tier_above_prompt_tokens"]
    if above is not None:
        yield _line(f"    the prompt is longer than {above:,} tokens: all of it at the tier for that")
    table = Table(box=SIMPLE)
    table.add_column(Text(printable(f"at {posting['price_version']}")), overflow="fold")
    for heading in ("tokens", "$ per million", "nano-dollars, rounded up", "$"):
        table.add_column(heading, justify="right", overflow="fold")
    for charge in arithmetic["charges"]:
        tokens = "" if charge["tokens"] is None else f"{charge['tokens']:,}"
        rate = "" if charge["usd_per_mtok"] is None else charge["usd_per_mtok"].rstrip("0").rstrip(".")
        cost = charge["cost_nanousd"]
        of = "each request" if charge["of"] == "request" else charge["of"]
        table.add_row(of, tokens, rate, f"{cost:,}", format_usd(cost))
    table.add_section()
    total = arithmetic["cost_nanousd"]
    table.add_row("sum", "", "", f"{total:,}", format_usd(total), style="bold")
    yield table
    if total != posting["cost_nanousd"]:
        yield _line(f"    {_difference(posting)}")


def _difference(posting: Story) -> str:
    """Why a line is not what its tokens come to."""
    if posting["kind"] == "correction":
        return f"{_dollars(posting['cost_usd'])} is the difference to what was charged before"
    if posting["cost_basis"] == "provider_reported":
        return f"charged is what the provider said: {_dollars(posting['cost_usd'])}"
    return f"charged is {_dollars(posting['cost_usd'])}: an estimate is never above its hold"


def _foot(story: Story) -> Iterator[RenderableType]:
    yield Text()
    if story["held_nanousd"]:
        yield _line(f"still held: {_dollars(format_usd(story['held_nanousd']))}")
    yield _line(f"cost of the answer: {_dollars(story['cost_usd'])}", style="bold")


def _line(text: str, style: str = "") -> Text:
    return Text(printable(text), style=style)


def _dollars(amount: str) -> str:
    return f"-${amount[1:]}" if amount.startswith("-") else f"${amount}"
