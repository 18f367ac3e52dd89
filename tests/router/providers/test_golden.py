"""Streams as each provider publishes them, cut anywhere and with any line ends: always the same events, or a Fault.

`golden/PROVIDER_ENDPOINT.CASE.sse` is what a provider says, the `.json` beside it what that means: canonical events,
then the closing or the fault; counts of 0 are left out, as is what holds of any answer without a riddle in it.
`python -m tests.router.providers.test_golden` writes every `.json` anew, for the difference to be read.
"""

import itertools
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from router.deployments import Provider
from router.faults import Fault
from router.providers.anthropic.reading import MessageReader
from router.providers.gemini.reading import GeminiReader
from router.providers.openai_reading import EventStream
from router.providers.openai_responses_reading import ResponseStream
from router.providers.reading import Reading

PROVIDER: Final = Provider(name="p", dialect="openai", base_url="http://127.0.0.1:1/v1", api_key="sk-test-0123456789")
FOLDER: Final = Path(__file__).parent / "golden"
READERS: Final[dict[str, Callable[[], Reading]]] = {
    "openai_chat": lambda: EventStream(PROVIDER, 200, keeps_events=True),
    "openai_responses": lambda: ResponseStream(PROVIDER, 200, keeps_items=True, keeps_events=True),
    "anthropic_messages": lambda: MessageReader(PROVIDER, 200, keeps_events=True),
    "gemini_stream": lambda: GeminiReader(PROVIDER, 200),
}
FILES: Final = sorted(FOLDER.glob("*.sse"))
BOM: Final = b"\xef\xbb\xbf"
NOISE: Final = b": a comment\n\nid: 7\nretry: 10\n\n"


def read(path: Path, *chunks: bytes) -> list[Any]:
    """What these bytes mean: every event, then the closing or the fault."""
    reading, said = READERS[path.name.partition(".")[0]](), []
    try:
        for chunk in chunks:
            said += reading.feed(chunk)
        said += reading.finish()
        said.append(reading.closing())
    except Fault as fault:
        said.append({"fault": fault.outcome.value, "message": fault.message})
    return said


def meaning(path: Path, *chunks: bytes) -> Any:
    """The same as plain JSON."""
    said = msgspec.json.decode(msgspec.json.encode(read(path, *chunks)))
    if usage := said[-1].get("usage"):
        said[-1]["usage"] = {name: count for name, count in usage.items() if count}
    said[-1] = {name: value for name, value in said[-1].items() if value is not True}
    return said


def spread(data: bytes) -> bytes:
    """Each event's data on a line for every field, as only a hand would write it."""
    return data.replace(b'","', b'",\ndata: "')


@pytest.fixture(params=FILES, ids=lambda path: path.stem)
def path(request: pytest.FixtureRequest) -> Path:
    found = request.param
    assert isinstance(found, Path)
    return found


def test_every_provider_has_its_streams() -> None:
    assert {path.name.partition(".")[0] for path in FILES} == READERS.keys()


def test_a_stream_means_what_is_written_beside_it(path: Path) -> None:
    assert meaning(path, path.read_bytes()) == msgspec.json.decode(path.with_suffix(".json").read_bytes())


def test_it_means_the_same_cut_at_every_byte(path: Path) -> None:
    data = path.read_bytes()
    whole = read(path, data)
    for cut in range(1, len(data)):
        assert read(path, data[:cut], data[cut:]) == whole, cut
    assert read(path, *(data[at : at + 1] for at in range(len(data)))) == whole


def test_it_means_the_same_with_any_line_ends_and_with_what_is_to_be_skipped(path: Path) -> None:
    plain = spread(path.read_bytes().replace(b"\r\n", b"\n"))
    whole = read(path, plain)
    for line_end, mark, noise in itertools.product((b"\n", b"\r\n", b"\r"), (b"", BOM), (b"", NOISE)):
        data = mark + (noise + plain.replace(b"\n\n", b"\n\n" + noise)).replace(b"\n", line_end)
        assert read(path, data) == whole
        assert read(path, *(data[at : at + 1] for at in range(len(data)))) == whole


def test_it_means_the_same_spread_over_lines(path: Path) -> None:
    plain = path.read_bytes()
    without_raw = [{**said, "raw": ""} for said in meaning(path, plain)]
    assert [{**said, "raw": ""} for said in meaning(path, spread(plain))] == without_raw


def test_a_stream_that_ends_at_any_byte_is_whole_or_a_fault(path: Path) -> None:
    data = path.read_bytes()
    for end in range(0, len(data), 7):
        read(path, data[:end])


def spoilt(data: bytes, chance: random.Random) -> bytes:
    """The stream with some bytes changed, left out, said twice or put elsewhere."""
    bad = bytearray(data)
    for _ in range(chance.randint(1, 6)):
        at, end = sorted(chance.choices(range(len(bad) + 1), k=2))
        match chance.randrange(6):
            case 0:
                bad[at : at + 1] = bytes([chance.randrange(256)])
            case 1:
                del bad[at : min(end, at + 40)]
            case 2:
                bad[end:end] = bad[at : at + 200]
            case 3:
                bad[at:at] = chance.choice(
                    [b"null", b"[]", b"{}", b"-1", b"1e999", b'"', b"\n\n", b"\xff", b"[[" * 600]
                )
            case 4:
                number = chance.choice([b"9" * 30, b"-1", b"0.5", b"true", b"null", b"[1]", b'{"a":1}', b'"x"'])
                bad = bytearray(bytes(bad).replace(chance.choice([b"0", b"1", b"2", b"null", b"[]"]), number, 3))
            case 5:
                bad = bytearray(bytes(bad).replace(chance.choice([b'"index"', b'"type"', b'"delta"']), b'"x"', 1))
    return bytes(bad)


@settings(max_examples=150)
@given(st.sampled_from(FILES), st.randoms(use_true_random=False), st.integers(1, 300))
def test_whatever_is_spoilt_in_a_stream_gives_events_or_a_fault(path: Path, chance: random.Random, size: int) -> None:
    data = spoilt(path.read_bytes(), chance)
    read(path, *(data[at : at + size] for at in range(0, len(data), size)))


@settings(max_examples=100)
@given(st.sampled_from(FILES), st.binary(max_size=300))
def test_whatever_bytes_come_give_events_or_a_fault(path: Path, data: bytes) -> None:
    read(path, data, b"\n\n", b"data: " + data + b"\n\n")


@pytest.mark.soak
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem, indirect=False)
def test_a_long_campaign_of_spoilt_streams_gives_events_or_faults(path: Path) -> None:
    chance, data = random.Random(path.name), path.read_bytes()
    for _ in range(5_000):
        read(path, spoilt(data, chance))


if __name__ == "__main__":
    for file in FILES:
        said = msgspec.json.encode(meaning(file, file.read_bytes()), order="deterministic")
        file.with_suffix(".json").write_bytes(msgspec.json.format(said) + b"\n")
