"""The pepper: what digests of API keys are made with, and what is never in the database that holds them.

Whoever gets hold of a copy of the ledger alone can neither use its digests as keys nor try out guesses against them.
"""

import contextlib
import hashlib
import hmac
import os
import secrets
from pathlib import Path
from typing import Final

from ledger.errors import NotALedger
from ledger.sqlite.connection import sync_folder
from ledger.url import is_on_server

FILE: Final = "farthing.pepper"
VARIABLE: Final = "FARTHING_PEPPER"
# As many characters as 128 bits take in base64.
LEAST_CHARS: Final = 22
_BYTES: Final = 32


class Pepper:
    """One pepper. `repr` does not show it."""

    def __init__(self, value: bytes) -> None:
        self._value = value
        # Says which pepper it is, and nothing about it: another message's digest than any key's.
        self.pepper_id = hmac.digest(value, b"which pepper", hashlib.sha256).hex()[:16]

    def digest(self, secret: bytes) -> bytes:
        """HMAC-SHA-256 of a secret, 32 bytes."""
        return hmac.digest(self._value, secret, hashlib.sha256)


def open_pepper(ledger_url: str, given: str | None) -> Pepper:
    """The given one ($FARTHING_PEPPER), else that of the file beside the ledger, which is made if it is missing.

    Raises NotALedger, which says what to do.
    """
    if given:
        if len(given) < LEAST_CHARS:
            raise NotALedger(f"${VARIABLE} has fewer than {LEAST_CHARS} characters: take a longer one, made by chance")
        return Pepper(given.encode("utf-8", "surrogateescape"))
    if is_on_server(ledger_url):
        raise NotALedger(f"the replicas on a server share one pepper: set ${VARIABLE} for each of them to the same")
    path = Path(ledger_url.partition(":")[2]).with_name(FILE)
    try:
        return Pepper(_read(path) or _make(path))
    except OSError as error:
        raise NotALedger(f"{path}, which keys are checked with, cannot be used: {error.strerror}") from error


def _read(path: Path) -> bytes:
    """Empty: there is none."""
    try:
        value = path.read_bytes().strip()
    except FileNotFoundError:
        return b""
    if len(value) < LEAST_CHARS:
        raise NotALedger(f"{path} is too short for a pepper: put the one back that keys were made with, or remove it")
    return value


def _make(path: Path) -> bytes:
    """A new pepper, whole and durable before it has its name; of several makers at once one wins, and all take its."""
    partial = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(secrets.token_hex(_BYTES).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
        # If somebody else's is there by now, that is the one that is read below.
        with contextlib.suppress(FileExistsError):
            os.link(partial, path)
    finally:
        partial.unlink()
    sync_folder(path)
    return _read(path)
