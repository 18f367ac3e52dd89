"""How a flight ends for those who listen: it lands with an answer, or its lead is passed on."""

import msgspec

from ledger.errors import LedgerError
from router.answer import Answer
from router.errors import RouterError
from router.receipt import AttemptReport, RouterFacts, Timing


class Landing(msgspec.Struct, frozen=True, kw_only=True):
    """How a flight ended well: the answer, and the account of it that every listener's receipt is made from."""

    answer: Answer
    provider: str
    model: str
    cost_nanousd: int
    answer_cost_nanousd: int
    cost_basis: str
    estimated_prompt_tokens: int
    attempts: tuple[AttemptReport, ...]
    dropped_params: tuple[str, ...]
    clamped: dict[str, int]
    timing: Timing
    router: RouterFacts


class LeadPassed(Exception):
    """The leader ended for a reason of its own before any output: a listener may take the lead."""

    def __init__(self, reason: LedgerError | RouterError) -> None:
        super().__init__(reason)
        self.reason = reason
