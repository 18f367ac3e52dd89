"""What an operator may say of a deployment by hand: rules over its hint, by their names. Pure."""

from collections.abc import Callable
from functools import partial
from typing import Final

import msgspec

from router.hints import Block, Cause, Hint
from router.lessons import ENDPOINTS

ACTIONS: Final = ("block", "allow", "prefer", "forget")
REASON_CHARS: Final = 300


class WrongOrder(Exception):
    """An order that makes no sense. field: what is wrong with it; the text says how it would be right."""

    def __init__(self, field: str, text: str) -> None:
        super().__init__(text)
        self.field = field


def order(action: str, *, now_ms: int, endpoint: str = "", reason: str = "") -> Callable[[Hint], Hint]:
    """What becomes of a hint by this order. Raises WrongOrder."""
    endpoint = endpoint.strip().strip("/")
    if len(reason) > REASON_CHARS:
        raise WrongOrder("reason", f"must have at most {REASON_CHARS} characters")
    if endpoint and action != "prefer":
        raise WrongOrder("endpoint", "is for the action prefer only")
    match action:
        case "block":
            return partial(blocked_by_hand, reason=reason, now_ms=now_ms)
        case "allow":
            return allowed
        case "prefer" if endpoint in {"", *ENDPOINTS}:
            return partial(preferring, endpoint=endpoint)
        case "prefer":
            raise WrongOrder("endpoint", f"must be {' or '.join(sorted(ENDPOINTS))}; empty for no preference")
        case "forget":
            return forgotten
        case _:
            raise WrongOrder("action", f"must be one of {', '.join(ACTIONS)}")


def blocked_by_hand(hint: Hint, reason: str, now_ms: int) -> Hint:
    """Blocked until an operator allows it again."""
    block = Block(cause=Cause.OPERATOR, since_ms=now_ms, until_ms=now_ms, wait_ms=0, reason=reason)
    return msgspec.structs.replace(hint, block=block)


def allowed(hint: Hint) -> Hint:
    """Without any block, and without what would soon lead to one again."""
    return msgspec.structs.replace(hint, block=None, failures=0, unsupported=0, forbidden=0)


def preferring(hint: Hint, endpoint: str) -> Hint:
    """Asked at this endpoint from now on; empty: at the one that it learned, or its dialect's own."""
    return msgspec.structs.replace(hint, preferred=endpoint)


def forgotten(_hint: Hint) -> Hint:
    """As if nothing had ever been learned of it."""
    return Hint()
