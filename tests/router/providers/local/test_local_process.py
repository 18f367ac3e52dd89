"""What a child is started with, and what is kept of its output."""

import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.providers.local.handover import settings_for
from router.providers.local.process import MAX_LINE_BYTES, MAX_LINES, LastLines, open_child


@pytest.mark.skipif(sys.platform != "linux", reason="what a process was started with is read from /proc")
@pytest.mark.parametrize("theirs", [None, "7"])
async def test_its_threads_soon_sleep_while_they_wait_unless_the_operator_says_otherwise(
    monkeypatch: pytest.MonkeyPatch, theirs: str | None
) -> None:
    monkeypatch.delenv("GOMP_SPINCOUNT", raising=False)
    if theirs is not None:
        monkeypatch.setenv("GOMP_SPINCOUNT", theirs)
    async with open_child(settings_for("no model", "key", cores=1, is_packaged=False)) as child:
        environment = Path(f"/proc/{child.pid}/environ").read_bytes().split(b"\0")

    assert f"GOMP_SPINCOUNT={theirs or 1000}".encode() in environment


def test_the_last_lines_are_kept_and_the_ones_before_forgotten() -> None:
    said = LastLines()
    for number in range(1000):
        said.feed(f"line {number}\n".encode())

    assert said.text().splitlines() == [f"line {number}" for number in range(1000 - MAX_LINES, 1000)]


def test_a_line_without_an_end_is_bounded_however_long_it_grows() -> None:
    said = LastLines()
    for _ in range(1000):
        said.feed(b"x" * 1000)

    assert said.text() == "x" * MAX_LINE_BYTES


def test_a_line_that_was_cut_off_by_death_is_kept() -> None:
    said = LastLines()
    said.feed(b"loading\nfailed to al")

    assert said.text() == "loading\nfailed to al"


def test_bytes_that_are_not_text_do_not_hide_the_rest() -> None:
    said = LastLines()
    said.feed(b"bad \xff byte\n")

    assert said.text() == "bad \N{REPLACEMENT CHARACTER} byte"


@given(st.lists(st.binary(max_size=40).filter(lambda line: b"\n" not in line), max_size=80), st.data())
def test_how_the_output_was_split_does_not_matter(lines: list[bytes], data: st.DataObject) -> None:
    output = b"".join(line + b"\n" for line in lines)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(output)), max_size=20)))
    said = LastLines()
    for start, end in zip([0, *cuts], [*cuts, len(output)], strict=True):
        said.feed(output[start:end])

    assert said.text() == "\n".join(line.decode("utf-8", "replace") for line in lines[-MAX_LINES:])
