"""The standard `logging` module, made to write lines that machines read, or people where a terminal listens.

A line says which trace and generation it belongs to, and never a value that was given to `Secrets.hide`, not even from
inside an exception's text.
"""

import json
import logging
import math
import re
from contextvars import ContextVar
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Final, NamedTuple, Self, TextIO

HIDDEN: Final = "[hidden]"
# What is shorter is a placeholder, not a key, and hiding it would blot out common words.
MIN_SECRET_CHARS: Final = 6
MAX_DEPTH: Final = 4
# They tell of every request at INFO, addresses included; a warning of theirs is still heard.
CHATTY_LOGGERS: Final = (
    "aiohttp",
    "granian.access",
    "hpack",
    "httpcore",
    "httpx",
    "litestar",
    "opentelemetry",
    "urllib3",
)

# What every record has; whatever else it has was given as `extra`.
_OWN_FIELDS: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
# Escape sequences in a message could rewrite what the terminal shows.
_CONTROLS: Final = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160))}
_CONTROLS_BUT_NEWLINE: Final = {code: text for code, text in _CONTROLS.items() if code != ord("\n")}


class _Ids(NamedTuple):
    trace_id: str = ""
    generation_id: str = ""


_NO_IDS: Final = _Ids()
_IDS: Final[ContextVar[_Ids]] = ContextVar("farthing.log_ids", default=_NO_IDS)


class Secrets:
    """Values that no log line shows."""

    def __init__(self) -> None:
        self._values: frozenset[str] = frozenset()
        self._pattern: re.Pattern[str] | None = None

    def hide(self, value: str) -> None:
        """From now on this value is not shown. Values below MIN_SECRET_CHARS are no secrets and left alone."""
        if len(value) < MIN_SECRET_CHARS:
            return
        self._values |= {value}
        # A value that contains another one goes first, or its rest would show.
        longest_first = sorted(self._values, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, longest_first)))

    def scrub(self, text: str) -> str:
        """The text without the hidden values."""
        return text if self._pattern is None else self._pattern.sub(HIDDEN, text)


class log_context:  # noqa: N801  It is used as a verb: `with log_context(...)`.
    """Within it, lines of this task say these ids. An empty one leaves the outer one in force."""

    __slots__ = ("_generation_id", "_outer", "_trace_id")

    def __init__(self, *, trace_id: str = "", generation_id: str = "") -> None:
        self._trace_id = trace_id
        self._generation_id = generation_id
        self._outer = _NO_IDS

    def __enter__(self) -> Self:
        self._outer = outer = _IDS.get()
        _IDS.set(_Ids(self._trace_id or outer.trace_id, self._generation_id or outer.generation_id))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # A token would refuse to be reset where an async generator is closed from another context.
        _IDS.set(self._outer)


def setup_logging(stream: TextIO, level: int | str) -> Secrets:
    """Send all logging of this process to the stream, in place of an earlier call's. Give it the secrets to hide."""
    secrets = Secrets()
    root = logging.getLogger()
    for handler in [handler for handler in root.handlers if isinstance(handler, LineHandler)]:
        root.removeHandler(handler)
    root.addHandler(LineHandler(stream, secrets))
    root.setLevel(level.upper() if isinstance(level, str) else level)
    for name in CHATTY_LOGGERS:
        chatty = logging.getLogger(name)
        chatty.setLevel(logging.WARNING)
        # Some bring a handler of their own, which knows no secrets.
        chatty.handlers.clear()
        chatty.propagate = True
    return secrets


class LineHandler(logging.StreamHandler[TextIO]):
    """Writes one record as a line of JSON, or as plain text to a terminal."""

    def __init__(self, stream: TextIO, secrets: Secrets) -> None:
        super().__init__(stream)
        self._secrets = secrets
        self._is_terminal = stream.isatty()

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its end."""
        fields = self._fields(record)
        return _plain_line(fields) if self._is_terminal else json.dumps(fields)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  The name is logging's.
        """Say that a line was lost, and whose. The inherited way prints the arguments: a key may be among them."""
        lost = logging.makeLogRecord(
            {
                "name": record.name,
                "levelno": logging.ERROR,
                "levelname": "ERROR",
                "msg": f"a log line could not be written: {record.filename}:{record.lineno}",
            }
        )
        try:
            self.stream.write(self.format(lost) + self.terminator)
        except (OSError, ValueError):
            # The stream itself is gone: there is nobody left to tell.
            return

    def _fields(self, record: logging.LogRecord) -> dict[str, Any]:
        ids = _IDS.get()
        moment = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        fields: dict[str, Any] = {
            "time": moment.removesuffix("+00:00") + "Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": self._secrets.scrub(record.getMessage()),
        }
        if ids.trace_id:
            fields["trace_id"] = ids.trace_id
        if ids.generation_id:
            fields["generation_id"] = ids.generation_id
        for name, value in vars(record).items():
            if name not in _OWN_FIELDS and name not in {"time", "level", "logger"} and value != "":
                fields[name] = self._told(value, MAX_DEPTH)
        if record.exc_info and record.exc_info[0] is not None:
            fields["exception"] = self._secrets.scrub(_TRACEBACKS.formatException(record.exc_info))
        if record.stack_info:
            fields["stack"] = self._secrets.scrub(record.stack_info)
        return fields

    def _told(self, value: object, depth: int) -> Any:
        """The value as JSON has it, scrubbed through and through."""
        match value:
            case str():
                return self._secrets.scrub(value)
            case None | bool() | int():
                return value
            case float():
                return value if math.isfinite(value) else str(value)
            case dict() if depth:
                return {self._secrets.scrub(str(name)): self._told(part, depth - 1) for name, part in value.items()}
            case list() | tuple() if depth:
                return [self._told(part, depth - 1) for part in value]
            case _:
                return self._secrets.scrub(str(value))


_TRACEBACKS: Final = logging.Formatter()


def _plain_line(fields: dict[str, Any]) -> str:
    """`12:00:00.000 warning router.gates: message  key=value`, and a traceback below it."""
    told = dict(fields)
    moment = told.pop("time")[11:-1]
    below = [text.translate(_CONTROLS_BUT_NEWLINE) for name in ("exception", "stack") if (text := told.pop(name, None))]
    head = f"{moment} {told.pop('level'):<7} {told.pop('logger')}: {told.pop('message')}"
    line = "  ".join([head, *(f"{name}={value}" for name, value in told.items())])
    return "\n".join([line.translate(_CONTROLS), *below])
