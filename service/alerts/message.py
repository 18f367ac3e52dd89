"""One message to a target: as the body of a webhook, and in words for people. Pure."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from ledger.events import DIGEST
from ledger.reports import iso

# What happened, before the scope or deployment that it happened to.
_TITLES: Final = {
    "ceiling.threshold": "A ceiling fills up",
    "ceiling.exceeded": "A ceiling is reached",
    "ceiling.forecast": "A ceiling will be reached before its window ends",
    "spend.anomaly": "A key spends far more than usual",
    "model.unpriced": "A model has no price",
    "provider.key_refused": "A provider refuses its key",
    "provider.out_of_credit": "A provider is out of credit",
    "breaker.open_long": "A deployment has failed for long",
    "ledger.drift": "The ledger does not add up",
    "posting.overrun": "An attempt cost more than was held for it",
    "disk.low": "The ledger's disk is nearly full",
    "digest": "Several things happened",
    "test": "This is a test",
}
# The facts that say to what it happened; the first that is there goes into the title.
_SUBJECTS: Final = ("scope", "deployment", "provider", "model", "key")
MAX_LINES: Final = 30


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """What is sent, on each try the same. message_id: by which a receiver knows one that it has. facts: JSON."""

    message_id: str
    type: str
    at_ms: int
    facts: dict[str, Any]


def body_of(message: Message) -> bytes:
    """Standard Webhooks' payload: `type`, `timestamp` (when it happened), and in `data` the id and the facts."""
    return msgspec.json.encode(
        {
            "type": message.type,
            "timestamp": iso(message.at_ms),
            "data": {"id": message.message_id, **message.facts},
        }
    )


def title_of(message: Message) -> str:
    """One line for people."""
    return f"Farthing: {_title(message.type, message.facts)}"


def subject_of(facts: Mapping[str, Any]) -> str:
    """To what it happened: `80% of global a month`, a deployment, what a digest counts. Empty where nothing says."""
    if "counts" in facts:
        return ", ".join(f"{count} {kind}" for kind, count in facts["counts"].items())
    subject = str(next((facts[name] for name in _SUBJECTS if facts.get(name)), ""))
    if "window" in facts:
        subject += f" a {facts['window']}" if facts["window"] != "total" else " in all"
    return f"{facts['threshold']:.0%} of {subject}" if "threshold" in facts else subject


def text_of(message: Message) -> str:
    """A line for each fact, or for each event that a digest shows; for people, and MAX_LINES at most."""
    told = _digest_lines(message.facts) if message.type == DIGEST else _lines(message.facts)
    lines = [f"type: {message.type}", f"at: {iso(message.at_ms)}", *told][: MAX_LINES - 1]
    return "\n".join([*lines, f"id: {message.message_id}"])


def _title(kind: str, facts: Mapping[str, Any]) -> str:
    title, subject = _TITLES.get(kind, kind), subject_of(facts)
    return f"{title}: {subject}" if subject else title


def _digest_lines(facts: Mapping[str, Any]) -> list[str]:
    shown = [f"{event['at']} {_title(event['type'], event)}" for event in facts["first"]]
    more = facts["events"] - len(shown)
    return [*shown, *([f"and {more} more, since {facts['since']}"] if more else [])]


def _lines(facts: dict[str, Any]) -> list[str]:
    """Amounts in dollars alone, where they are there in both."""
    told = {name: value for name, value in facts.items() if f"{name.removesuffix('_nanousd')}_usd" not in facts}
    dollars = {name: f"${value}" for name, value in facts.items() if name.endswith("_usd")}
    return [f"{_label(name)}: {_shown(value)}" for name, value in (told | dollars).items() if value is not None]


def _label(name: str) -> str:
    return name.removesuffix("_usd").replace("_", " ")


def _shown(value: Any) -> str:
    """What has parts as JSON."""
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
