"""One method of one path, as the documentation shows it."""

from typing import Any

import msgspec

from ledger.apikeys import Role


class Operation(msgspec.Struct, frozen=True, kw_only=True):
    """One method of one path. example: of its answer; errors: {status: what for}, beside those that are everywhere.

    path_example: the path with something that is there. other_media_types: the answer comes in these too, if asked for.
    varying: names of fields whose type is as the request asks. passes_rejections: a provider's 4xx passes through it.
    role: the least that a caller's key has to have; None: it asks for no key. has_plain_errors: its own errors are no
    problems, but answers with another status.
    """

    method: str
    path: str
    role: Role | None
    summary: str
    example: Any = None
    body: type[msgspec.Struct] | None = None
    body_example: Any = None
    query: tuple[str, ...] = ()
    streams: bool = False
    media_type: str = "application/json"
    kind: str = "string"
    other_media_types: tuple[str, ...] = ()
    path_example: str = ""
    errors: dict[int, str] = {}
    varying: tuple[str, ...] = ()
    passes_rejections: bool = False
    has_plain_errors: bool = False
