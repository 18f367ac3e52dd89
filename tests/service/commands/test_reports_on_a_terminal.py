"""`farthing spend` and `farthing latency` as people see them: on a terminal, where they also refresh in place."""

import asyncio
import io
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager
from fcntl import ioctl
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner
from rich.console import Console

from ledger.ledger import open_reports
from ledger.values import Settlement
from service.commands.latency import LATENCY
from service.commands.reports import Kind, Options, report_table
from service.commands.spend import SPEND, spend
from tests.ledger.calls import Clock, a_call, a_ledger, a_result, an_ending
from tests.processes import FARTHING

HOUR_MS = 3_600_000
WITHIN_S = 30
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")


class Terminal:
    """A command on a terminal of its own. seen: all that it wrote, without what only moves the cursor."""

    def __init__(self, process: subprocess.Popen[bytes], descriptor: int) -> None:
        self.process = process
        self.raw = ""
        self._descriptor = descriptor

    @property
    def seen(self) -> str:
        return ESCAPES.sub("", self.raw)

    def read_until(self, words: str, *, after: int = 0) -> None:
        """Until it has written this. after: so many letters of what was seen."""
        ends_at_s = time.monotonic() + WITHIN_S
        while words not in self.seen[after:]:
            assert self._read(ends_at_s), self.seen

    def ended(self) -> int:
        """Its exit status, once it has one; also who goes on writing has only so much time."""
        ends_at_s = time.monotonic() + WITHIN_S
        while self._read(ends_at_s):
            pass
        return self.process.wait(WITHIN_S)

    def _read(self, ends_at_s: float) -> bool:
        left_s = max(0.0, ends_at_s - time.monotonic())
        there, _, _ = select.select([self._descriptor], [], [], left_s)
        assert there, self.seen
        assert left_s, self.seen
        try:
            data = os.read(self._descriptor, 65536)
        except OSError:  # Linux: nobody has the other end any more.
            return False
        self.raw += data.decode()
        return bool(data)


@contextmanager
def on_a_terminal(folder: Path, *arguments: str, columns: int = 140, term: str = "xterm") -> Iterator[Terminal]:
    ours, theirs = pty.openpty()
    ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    told = {**os.environ, "TERM": term, "COLUMNS": str(columns), "PYTHONIOENCODING": "utf-8"}
    process = subprocess.Popen(
        # In a shell's background tests ignore SIGINT, and so would what they start; a terminal's program does not.
        ["env", "--default-signal=INT", FARTHING, *arguments],
        cwd=folder,
        env=told,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    try:
        yield Terminal(process, ours)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        os.close(ours)


async def spend_some(folder: Path, *costs: tuple[str, int, int]) -> None:
    """Attempts: (deployment, its cost, how many hours ago)."""
    clock = Clock()
    now_ms = time.time_ns() // 1_000_000
    async with a_ledger(folder, clock=clock) as ledger:
        for deployment, cost, ago in costs:
            clock.at_ms = now_ms - ago * HOUR_MS
            request = a_call(deployment=deployment, now_ms=clock.at_ms, held=10**9)
            lead = await ledger.admit(request)
            ending = an_ending(request, deployment=deployment)
            result = a_result(lead, cost=cost, latency_us=cost)
            await ledger.settle(Settlement(attempts=(result,), ending=ending))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("terminal")
    (folder / "farthing.toml").write_text('[ledger]\nurl = "sqlite:farthing.db"\n', "utf-8")
    asyncio.run(spend_some(folder, ("p:even", 500_000, 3), ("p:even", 500_000, 1), ("p:odd", 900_000, 2)))
    return folder


def test_each_row_has_its_course_over_the_window_where_there_is_room(folder: Path) -> None:
    with on_a_terminal(folder, "spend", "--since", "5h") as terminal:
        assert terminal.ended() == 0
    lines = terminal.seen.splitlines()
    heading = next(line for line in lines if "cost by hour" in line)
    begins = heading.index("cost by hour")
    blocks = {
        line.split()[0]: line[begins:].rstrip() for line in lines if line.split()[:1] != ["model"] and "p:" in line
    }
    assert blocks == {"p:even": "  █ █", "p:odd": "   █"}


def shown(folder: Path, kind: Kind[Any], *, columns: int, encoding: str = "utf-8", **changed: Any) -> str:
    """What this report's table looks like on a terminal that is so wide."""
    given = Options(
        path=None, by="model", since="5h", until=None, as_json=False, as_csv=False, no_spark=False, watch=None
    )
    screen = io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors="replace")
    console = Console(file=screen, width=columns, force_terminal=True, color_system=None)

    async def run() -> None:
        async with open_reports(f"sqlite:{folder / 'farthing.db'}") as reports:
            console.print(await report_table(kind, msgspec.structs.replace(given, **changed), reports, console))

    asyncio.run(run())
    screen.seek(0)
    return screen.read()


def test_latency_has_its_course_too(folder: Path) -> None:
    assert "p95 by hour" in shown(folder, LATENCY, columns=160)


def test_it_has_none_where_it_cannot_or_shall_not(folder: Path) -> None:
    assert "cost by hour" in shown(folder, SPEND, columns=140)
    for text in (
        shown(folder, SPEND, columns=140, no_spark=True),
        shown(folder, SPEND, columns=70),
        shown(folder, SPEND, columns=140, encoding="ascii"),
        shown(folder, SPEND, columns=140, by="model,hour"),
    ):
        assert "total" in text
        assert "by hour" not in text


def test_watching_refreshes_in_place_until_it_is_interrupted(folder: Path) -> None:
    with on_a_terminal(folder, "spend", "--watch", "0.2") as terminal:
        terminal.read_until("Ctrl-C ends")
        assert "p:new" not in terminal.seen
        asyncio.run(spend_some(folder, ("p:new", 7, 0)))
        terminal.read_until("p:new")
        os.kill(terminal.process.pid, signal.SIGINT)
        assert terminal.ended() == 0
    assert "Traceback" not in terminal.seen
    # The cursor went up over the last table, and was hidden meanwhile.
    assert "\x1b[1A" in terminal.raw
    assert terminal.raw.rindex("\x1b[?25h") > terminal.raw.rindex("\x1b[?25l")


@pytest.mark.parametrize("kind", [SPEND, LATENCY])
@pytest.mark.parametrize("columns", [12, 20, 40, 60, 80, 120])
def test_however_narrow_the_terminal_no_figure_is_broken_or_lost(folder: Path, kind: Kind[Any], columns: int) -> None:
    lines = shown(folder, kind, columns=columns).splitlines()
    assert max(map(len, lines)) <= columns
    is_a_table = any("cost $" in line and "calls" in line for line in lines)
    assert kind is LATENCY or is_a_table == (columns > 40)
    for figure in ("0.001000000", "0.000900000") if kind is SPEND else ("500.0", "900.0"):
        assert any(figure in line for line in lines), lines
    assert "p:even" in "".join(line.strip() for line in lines)


def test_watching_on_a_terminal_that_cannot_move_its_cursor_goes_on_below(folder: Path) -> None:
    with on_a_terminal(folder, "spend", "--watch", "0.2", term="dumb") as terminal:
        terminal.read_until("Ctrl-C ends")
        before = len(terminal.seen)
        terminal.read_until("Ctrl-C ends", after=before)
        os.kill(terminal.process.pid, signal.SIGINT)
        assert terminal.ended() == 0
    assert "\x1b[1A" not in terminal.raw


def test_watching_takes_a_terminal_and_a_table(folder: Path) -> None:
    piped = CliRunner().invoke(spend, ["--config", str(folder / "farthing.toml"), "--watch"])
    assert (piped.exit_code, piped.stdout) == (2, "")
    assert "--watch" in piped.stderr


def test_a_report_has_one_form_and_a_window_the_right_way_round(folder: Path) -> None:
    config = ("--config", str(folder / "farthing.toml"))
    for wrong, said in (
        (("--json", "--csv"), "--json and --csv are two forms of one report: choose one"),
        (("--since", "2026-11-02", "--until", "2026-11-01"), "the window ends at 2026-11-01T00:00:00.000Z, before it"),
    ):
        refused = CliRunner().invoke(spend, [*config, *wrong])
        assert (refused.exit_code, refused.stdout) == (2, "")
        assert refused.stderr.startswith(f"farthing: {said}")


def test_several_bys_are_one_with_commas(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    together = CliRunner().invoke(spend, ["--csv", "--by", "model,hour"])
    assert together.stdout.startswith("model,hour,cost_usd,")
    apart = CliRunner().invoke(spend, ["--csv", "--by", "model", "--by", "hour"])
    assert (apart.exit_code, apart.stdout) == (0, together.stdout)
    assert CliRunner().invoke(spend, ["--csv"]).stdout.startswith("model,cost_usd,")
