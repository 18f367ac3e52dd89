"""How a ledger is doing, in numbers, for whoever watches it."""

import msgspec


class LedgerFigures(msgspec.Struct, frozen=True, kw_only=True):
    """The same from every process on a ledger, but for what changed since its others last said so.

    drift: how many broken rows the service's own audit has found, ever; verified_seq: the newest line it has looked at;
    verify_s: how long its last look took; wal_bytes: size of the log that waits to be moved into the file;
    queue_depth: writes that wait, of all processes. alerts_pending, alerts_dead: deliveries of alerts that are to be
    tried, and that were given up.
    """

    drift: int
    verified_seq: int
    verify_s: float
    wal_bytes: int
    queue_depth: int
    alerts_pending: int
    alerts_dead: int


class Batch(msgspec.Struct, frozen=True):
    """Writes that shared one commit: how many, how long the oldest had waited, and how long they took together.

    The turn at the file is part of that, so with several processes it tells how they crowd each other.
    """

    writes: int
    waited_s: float
    took_s: float
