"""A provider's usage or cost export, read into totals by day and model. Pure: text in, totals out."""

import csv
import datetime
import io
from collections.abc import Iterator, Mapping
from decimal import ROUND_CEILING, Decimal, InvalidOperation
from typing import Any, Final

import msgspec

from ledger.money import NANOUSD_PER_USD

# cost_cents: as some providers have it, in hundredths of a dollar.
COLUMNS: Final = ("day", "model", "cost_usd", "cost_cents", "input_tokens", "output_tokens")
_COUNTS: Final = ("input_tokens", "output_tokens")
_NANOUSD: Final = {"cost_usd": NANOUSD_PER_USD, "cost_cents": NANOUSD_PER_USD // 100}
NEEDED: Final = ("day", "model")
_UNIX_TIME_MS_FROM: Final = 10**11


class Total(msgspec.Struct, frozen=True, kw_only=True):
    """What a provider says of one model on one day (UTC). None: it does not say."""

    cost_nanousd: int | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None


class Mapped(msgspec.Struct, frozen=True, kw_only=True):
    """Where to find what in an export.

    columns: {one of COLUMNS: the column, or for JSON the field, dots for fields within}. rows: for JSON, where the rows
    are: `data[].results[]`; what a row lacks is looked for in the objects around it. models: {their name: ours}.
    """

    columns: Mapping[str, str]
    rows: str = ""
    models: Mapping[str, str] = {}


class ExportUnreadable(ValueError):
    """The export is not as the mapping says. The text names the row and column."""


Totals = dict[tuple[str, str], Total]


def read_export(text: str, mapped: Mapped, *, is_json: bool) -> Totals:
    """{(day, model): its total}, rows of one day and model added up. Raises ExportUnreadable."""
    totals: Totals = {}
    for number, row in enumerate(_json_rows(text, mapped.rows) if is_json else _csv_rows(text), 1):
        try:
            found = {name: _field(row, column) for name, column in mapped.columns.items()}
            place = (_day(found["day"]), mapped.models.get(str(found["model"]), str(found["model"])))
            totals[place] = _added(totals.get(place, Total()), found)
        except ExportUnreadable as error:
            raise ExportUnreadable(f"row {number}: {error}") from error
    return totals


def _csv_rows(text: str) -> Iterator[list[Mapping[str, Any]]]:
    for row in csv.DictReader(io.StringIO(text.removeprefix("\ufeff"))):
        yield [row]


def _json_rows(text: str, rows: str) -> Iterator[list[Mapping[str, Any]]]:
    """Each row with the objects around it, itself first."""
    try:
        document = msgspec.json.Decoder(float_hook=Decimal).decode(text)
    except (msgspec.DecodeError, RecursionError) as error:
        raise ExportUnreadable(f"is not JSON: {error}") from error
    yield from _within(document, [part for part in rows.split(".") if part], [])


def _within(value: Any, parts: list[str], around: list[Mapping[str, Any]]) -> Iterator[list[Mapping[str, Any]]]:
    if isinstance(value, list):
        for item in value:
            yield from _within(item, parts, around)
        return
    if not isinstance(value, dict):
        raise ExportUnreadable(f"expected an object, found {value!r}")
    if not parts:
        yield [value, *around]
        return
    name = parts[0].removesuffix("[]")
    if name not in value:
        raise ExportUnreadable(f"there is no {name!r} in {', '.join(map(repr, value))}")
    yield from _within(value[name], parts[1:], [value, *around])


def _field(row: list[Mapping[str, Any]], column: str) -> Any:
    for scope in row:
        value: Any = scope
        for part in column.split("."):
            value = value.get(part) if isinstance(value, dict) else None
        if value is not None:
            return value
    raise ExportUnreadable(f"there is no {column!r}; there is {', '.join(map(repr, row[0]))}")


def _added(total: Total, found: Mapping[str, Any]) -> Total:
    """What a total is with one more row."""
    sums = {name: getattr(total, name) for name in total.__struct_fields__}
    amounts = {column: _nanousd(found[column], unit) for column, unit in _NANOUSD.items() if column in found}
    for name, more in {"cost_nanousd": next(iter(amounts.values()), None), **_counts(found)}.items():
        if more is not None:
            sums[name] = (sums[name] or 0) + more
    return Total(**sums)


def _counts(found: Mapping[str, Any]) -> dict[str, int]:
    return {name: _count(found[name]) for name in _COUNTS if name in found}


def _day(value: Any) -> str:
    """The UTC day of a date, a moment, or a Unix time in seconds or milliseconds."""
    text = str(value).strip()
    try:
        if text.isdecimal():
            number = int(text)
            seconds = number / 1000 if number >= _UNIX_TIME_MS_FROM else number
            return datetime.datetime.fromtimestamp(seconds, datetime.UTC).date().isoformat()
        moment = datetime.datetime.fromisoformat(text)
    except (ValueError, OverflowError, OSError) as error:
        raise ExportUnreadable(f"{text!r} is no day") from error
    return (moment if moment.tzinfo is None else moment.astimezone(datetime.UTC)).date().isoformat()


def _nanousd(value: Any, unit: int) -> int:
    text = str(value).strip().removeprefix("$").replace(",", "")
    try:
        amount = Decimal(text) * unit
        return int(amount.to_integral_value(rounding=ROUND_CEILING))
    except (InvalidOperation, ValueError, OverflowError) as error:
        raise ExportUnreadable(f"{value!r} is no amount of dollars") from error


def _count(value: Any) -> int:
    text = str(value).strip().replace(",", "")
    if not text.isdecimal():
        raise ExportUnreadable(f"{value!r} is no number of tokens")
    return int(text)
