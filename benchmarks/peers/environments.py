"""Environments of their own for other people's gateways, outside of ours: `.peers/`, made once and kept."""

import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

HOME: Final = Path(__file__).parents[2] / ".peers"
# All that they are given of our environment: what they need to run, and nothing that is a secret.
GIVEN: Final = (
    "PATH", "HOME", "LANG", "TMPDIR", "SSL_CERT_FILE", "NODE_EXTRA_CA_CERTS", "PIP_INDEX_URL", "NPM_CONFIG_REGISTRY",
)  # fmt: skip
INSTALL_WITHIN_S: Final = 1200
LAST_WORDS: Final = 160
_ADDRESS: Final = re.compile(r"https?://\S+")


class NotInstalled(Exception):
    """A gateway cannot be had on this machine. reason: what its own installer said last."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def python_environment(name: str, requirements: Sequence[str]) -> Path:
    """A virtual environment with these packages, as wheels only: nothing of theirs runs to install it.

    Returns its folder of commands. Raises NotInstalled.
    """
    folder = HOME / name
    mark = folder / ".installed"
    if not _is_installed(mark, requirements):
        run([sys.executable, "-m", "venv", str(folder)])
        run([str(folder / "bin" / "pip"), "install", "--quiet", "--only-binary", ":all:", *requirements])
        mark.write_text("\n".join(requirements), "utf-8")
    return folder / "bin"


def node_environment(name: str, package: str) -> Path:
    """A folder with this package from npm, without running install scripts. Returns its node_modules."""
    folder = HOME / name
    mark = folder / ".installed"
    if not _is_installed(mark, [package]):
        folder.mkdir(parents=True, exist_ok=True)
        quietly = ("--no-audit", "--no-fund", "--ignore-scripts", "--loglevel", "error")
        run(["npm", "install", *quietly, "--prefix", str(folder), package])
        mark.write_text(package, "utf-8")
    return folder / "node_modules"


def run(command: Sequence[str], *, folder: Path | None = None, more: dict[str, str] | None = None) -> str:
    """A command to its end; what it said. Raises NotInstalled with its last words if it cannot or does not succeed."""
    try:
        done = subprocess.run(
            command, check=False, capture_output=True, text=True, timeout=INSTALL_WITHIN_S, cwd=folder,
            env=environ(more), stdin=subprocess.DEVNULL,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NotInstalled(f"{command[0]}: {error}") from error
    if done.returncode:
        raise NotInstalled(last_words(done.stderr or done.stdout) or f"{command[0]} ended with {done.returncode}")
    return done.stdout


def environ(more: dict[str, str] | None = None) -> dict[str, str]:
    """What a process of theirs may know of our environment, and what else it is told."""
    return {name: os.environ[name] for name in GIVEN if name in os.environ} | (more or {})


def last_words(text: str) -> str:
    """The last line that says something, shortened and without addresses. Pure."""
    lines = [
        line.strip() for line in text.splitlines() if line.strip() and not line.startswith(("WARNING", "[notice]"))
    ]
    return _ADDRESS.sub("…", lines[-1])[:LAST_WORDS] if lines else ""


def _is_installed(mark: Path, requirements: Sequence[str]) -> bool:
    return mark.exists() and mark.read_text("utf-8") == "\n".join(requirements)
