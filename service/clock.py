"""What time it is. On its own, so that commands which only ask for the time load nothing else."""

import time


def now_ms() -> int:
    """Wall time, milliseconds UTC."""
    return time.time_ns() // 1_000_000
