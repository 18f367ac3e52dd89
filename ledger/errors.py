"""What the ledger refuses, and why. Each is a fact with typed fields; wording and HTTP status belong to service."""

import msgspec

from ledger.ceilings import Unit, Window, ceiling_id


class LedgerError(Exception):
    """Something the ledger would not do. `code` is stable: clients branch on it, metrics count it."""

    code = "ledger_error"


class Tight(msgspec.Struct, frozen=True, kw_only=True):
    """The ceiling that had no room, as it stood when it was asked. Amounts as in `ledger.ceilings.Ceiling`."""

    scope: str
    window: Window
    unit: Unit = "usd"
    limit: int
    spent: int
    held: int
    asked: int
    window_ends_at_ms: int | None
    earliest_release_at_ms: int | None = None

    @property
    def ceiling_id(self) -> str:
        """Its name in the tables."""
        return ceiling_id(self.scope, self.window, self.unit)

    @property
    def can_never_fit(self) -> bool:
        """Whether more was asked for than the whole limit."""
        return self.asked > self.limit


class CeilingExceeded(LedgerError):
    """Spent money alone leaves no room for the hold. Nothing was written; a smaller call may fit."""

    code = "ceiling_exceeded"

    def __init__(self, tight: Tight) -> None:
        super().__init__(tight)
        self.tight = tight


class CeilingHeld(LedgerError):
    """The hold would fit once open holds settle. Nothing was written; the same call may fit soon."""

    code = "ceiling_held"

    def __init__(self, tight: Tight) -> None:
        super().__init__(tight)
        self.tight = tight


class RateLimited(LedgerError):
    """A ceiling in tokens or calls has no room in this window. Nothing was written; the next window may have some."""

    code = "rate_limited"

    def __init__(self, tight: Tight) -> None:
        super().__init__(tight)
        self.tight = tight


class HoldUnbounded(LedgerError):
    """A ceiling applies, and no hold bounds what the call may use. Nothing was written. field: what of it lets it."""

    code = "unbounded_cost"

    def __init__(self, field: str) -> None:
        super().__init__(field)
        self.field = field


class LeaseOver(LedgerError):
    """This process was taken for dead: its lease is over, so it may hold nothing under it. Nothing was written."""

    code = "lease_over"


class KeyTaken(LedgerError):
    """Another call has this Idempotency-Key. Nothing was written. generation_id: of that call."""

    def __init__(self, generation_id: str) -> None:
        super().__init__(generation_id)
        self.generation_id = generation_id


class IdempotencyMismatch(KeyTaken):
    """The key stands for another request of the same caller."""

    code = "idempotency_mismatch"


class IdempotencyInProgress(KeyTaken):
    """The first call under this key is not over yet: its result may come soon."""

    code = "idempotency_in_progress"


class UsageDiffers(LedgerError):
    """The hold was settled before, with other figures. The first settlement stands; nothing was written."""

    code = "usage_differs"


class LedgerUnavailable(LedgerError):
    """The database did not take the write. If `unknown`, it may have been written: repeat it under the same ids."""

    code = "ledger_unavailable"

    def __init__(self, *, unknown: bool = False) -> None:
        super().__init__("the write may or may not have been kept" if unknown else "the ledger takes no writes now")
        self.unknown = unknown


class ReadingTooLong(LedgerUnavailable):
    """What was asked for takes longer to add up than a reading may hold on to the file. Asking for less may work."""


class NotALedger(LedgerError):
    """The file or its settings cannot serve as a ledger. The text says what to do; nothing was changed."""

    code = "not_a_ledger"


class BackupFailed(LedgerError):
    """The copy could not be made. The text says why."""

    code = "backup_failed"


class TooRecent(LedgerError):
    """What was to be folded is of the last day. Nothing was changed."""

    code = "too_recent"
