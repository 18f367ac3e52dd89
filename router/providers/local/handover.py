"""What parent and child say to each other: one JSON line down, one up."""

import os
from typing import Final

import msgspec

# A slot answers one call at a time. Each has a window of its own, so that no call can fail for what others sent.
SLOT_CONTEXT_TOKENS: Final = 4096
MAX_SLOTS: Final = 4


class ChildSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What the child is told.

    is_packaged: the model is the packaged one, which says of itself nothing about embeddings.

    Memory grows by 23 kB a token of context for the packaged model: 94 MB a slot. api_key keeps other programs of
    this machine, browsers first, from using the model past the ledger.
    """

    model_path: str
    api_key: str
    slots: int
    slot_context_tokens: int
    threads: int
    is_packaged: bool


class Serving(msgspec.Struct, frozen=True, kw_only=True):
    """What the child answers once it is warm. context_window: tokens one call may fill, prompt and output together."""

    url: str
    context_window: int


def settings_for(model_path: str, api_key: str, *, cores: int, is_packaged: bool) -> ChildSettings:
    """Settings that suit a machine of so many cores: a slot and a thread for each, four at most."""
    parallel = max(1, min(MAX_SLOTS, cores))
    return ChildSettings(
        model_path=model_path,
        api_key=api_key,
        slots=parallel,
        slot_context_tokens=SLOT_CONTEXT_TOKENS,
        threads=parallel,
        is_packaged=is_packaged,
    )


def usable_cores() -> int:
    """The cores that this process may run on, where the system says so; else all there are."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
