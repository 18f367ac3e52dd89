"""Log lines: what they say, and what they never say."""

import asyncio
import io
import json
import logging
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telemetry import Secrets, log_context, setup_logging
from telemetry.logs import CHATTY_LOGGERS, HIDDEN, LineHandler

KEY = "sk-test-0123456789"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _root_logger_as_before() -> Iterator[None]:
    root = logging.getLogger()
    level, chatty = root.level, {name: logging.getLogger(name).level for name in CHATTY_LOGGERS}
    yield
    root.setLevel(level)
    root.handlers = [handler for handler in root.handlers if not isinstance(handler, LineHandler)]
    for name, was in chatty.items():
        logging.getLogger(name).setLevel(was)


@pytest.fixture
def stream() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def secrets(stream: io.StringIO) -> Secrets:
    return setup_logging(stream, "info")


log = logging.getLogger("router.gates")


def refuse(text: str) -> None:
    raise ValueError(text)


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_says_when_who_what_and_whatever_was_added(stream: io.StringIO, secrets: Secrets) -> None:
    log.warning("%d waiting", 3, extra={"provider": "openai", "wait_s": 0.5, "deployments": ["a", "b"]})
    [line] = lines(stream)
    assert datetime.fromisoformat(line.pop("time")).utcoffset() is not None
    assert line == {
        "level": "warning",
        "logger": "router.gates",
        "message": "3 waiting",
        "provider": "openai",
        "wait_s": 0.5,
        "deployments": ["a", "b"],
    }


def test_lines_carry_the_ids_of_the_call_they_belong_to(stream: io.StringIO, secrets: Secrets) -> None:
    with log_context(trace_id="t1"):
        log.info("traced")
        with log_context(generation_id="gen_1"):
            log.info("generating")
        log.info("traced again")
    log.info("outside")
    ids = [(line.get("trace_id"), line.get("generation_id")) for line in lines(stream)]
    assert ids == [("t1", None), ("t1", "gen_1"), ("t1", None), (None, None)]


async def test_calls_at_the_same_time_keep_their_ids_apart(stream: io.StringIO, secrets: Secrets) -> None:
    async def call(number: int) -> None:
        with log_context(trace_id=f"t{number}"):
            await asyncio.sleep(0)
            log.info("call", extra={"number": number})

    await asyncio.gather(*(call(number) for number in range(5)))
    assert {(line["trace_id"], line["number"]) for line in lines(stream)} == {(f"t{n}", n) for n in range(5)}


def test_ids_given_with_the_line_win_over_the_context(stream: io.StringIO, secrets: Secrets) -> None:
    with log_context(trace_id="outer"):
        log.info("x", extra={"trace_id": "own", "generation_id": ""})
    [line] = lines(stream)
    assert line["trace_id"] == "own"
    assert "generation_id" not in line


def test_a_hidden_value_is_in_no_part_of_a_line(stream: io.StringIO, secrets: Secrets) -> None:
    secrets.hide(KEY)
    try:
        refuse(f"refused: Bearer {KEY}")
    except ValueError:
        extra = {"plain": KEY, "deep": {"of": [(KEY, {KEY: 1})]}, "object": ValueError(KEY)}
        log.exception("with %s", KEY, extra=extra, stack_info=True)
    assert KEY not in stream.getvalue()
    [line] = lines(stream)
    assert line["message"] == f"with {HIDDEN}"
    assert f"refused: Bearer {HIDDEN}" in line["exception"]
    assert line["deep"] == {"of": [[HIDDEN, {HIDDEN: 1}]]}


def test_a_hidden_value_is_not_in_a_stack_either(stream: io.StringIO, secrets: Secrets) -> None:
    secrets.hide("test_a_hidden_value_is_not_in")
    log.warning("where are we", stack_info=True)
    [line] = lines(stream)
    assert HIDDEN in line["stack"]
    assert "test_a_hidden_value_is_not_in" not in line["stack"]


def test_a_key_that_contains_another_is_hidden_whole(stream: io.StringIO, secrets: Secrets) -> None:
    secrets.hide("abcdef")
    secrets.hide("abcdef-ghijkl")
    log.info("abcdef-ghijkl abcdef")
    assert lines(stream)[0]["message"] == f"{HIDDEN} {HIDDEN}"


def test_a_key_of_json_and_pattern_characters_is_hidden(stream: io.StringIO, secrets: Secrets) -> None:
    awkward = '"a\\b".*+(é'
    secrets.hide(awkward)
    log.info("key %s", awkward, extra={"key": awkward})
    assert [lines(stream)[0][name] for name in ("message", "key")] == [f"key {HIDDEN}", HIDDEN]


def test_too_short_a_value_is_no_secret(stream: io.StringIO, secrets: Secrets) -> None:
    for value in ("", "x", "none"):
        secrets.hide(value)
    log.info("none of it is blotted out")
    assert lines(stream)[0]["message"] == "none of it is blotted out"


def test_a_line_that_cannot_be_made_is_told_without_its_arguments(
    stream: io.StringIO, secrets: Secrets, capsys: pytest.CaptureFixture[str]
) -> None:
    handler = next(handler for handler in logging.getLogger().handlers if isinstance(handler, LineHandler))
    # pytest's own handler would raise on such a record, so it goes to ours alone.
    handler.handle(logging.makeLogRecord({"name": "x", "msg": "%d", "args": (KEY,), "filename": "a.py", "lineno": 7}))
    assert lines(stream)[0]["message"] == "a log line could not be written: a.py:7"
    assert KEY not in stream.getvalue() + capsys.readouterr().err


def test_a_terminal_gets_plain_lines_without_its_own_control_codes() -> None:
    terminal = Terminal()
    setup_logging(terminal, logging.INFO).hide(KEY)
    try:
        refuse(f"\x1b[2J{KEY}")
    except ValueError:
        log.exception("a\x1b[31mb\nforged line", extra={"n": 1})
    head, *rest = terminal.getvalue().splitlines()
    assert head[12:] == " error   router.gates: a\\x1b[31mb\\x0aforged line  n=1"
    assert rest[-1] == f"ValueError: \\x1b[2J{HIDDEN}"


def test_chatty_libraries_are_heard_from_warnings_up(stream: io.StringIO, secrets: Secrets) -> None:
    for name in ("httpx", "aiohttp.access", "granian.access", "litestar"):
        logging.getLogger(name).info("noise")
        logging.getLogger(name).warning("heard")
    assert [line["message"] for line in lines(stream)] == ["heard"] * 4


def test_a_chatty_library_s_own_handler_writes_nothing_more(stream: io.StringIO) -> None:
    own = io.StringIO()
    chatty = logging.getLogger(CHATTY_LOGGERS[0])
    chatty.addHandler(logging.StreamHandler(own))
    setup_logging(stream, "info").hide(KEY)
    chatty.warning("refused with %s", KEY)
    assert (own.getvalue(), KEY in stream.getvalue()) == ("", False)


def test_a_second_setup_replaces_the_first(stream: io.StringIO, secrets: Secrets) -> None:
    second = io.StringIO()
    setup_logging(second, "WARNING")
    log.info("below the new level")
    log.warning("once")
    assert stream.getvalue() == ""
    assert [line["message"] for line in lines(second)] == ["once"]


@given(st.text(), st.dictionaries(st.text(min_size=1).map("x{}".format), st.integers() | st.floats() | st.text()))
def test_every_line_is_one_line_of_json(message: str, extra: dict[str, object]) -> None:
    stream = io.StringIO()
    handler = LineHandler(stream, Secrets())
    handler.handle(logging.makeLogRecord({"msg": message.replace("%", "%%"), **extra}))
    [line] = stream.getvalue().splitlines()
    json.loads(line, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
