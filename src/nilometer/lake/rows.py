"""Rows on their way into a table: JSON decoded by a struct made from the declaration, then Arrow, column by column.

JSON columns stay raw bytes from the queue to the file. Times and decimals stay text until Arrow parses a whole
column at once: a tenth of the cost of Python's own objects.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from operator import attrgetter
from typing import Annotated, Any

import msgspec
from arro3.core import Array, DataType, Table

from nilometer.domain.tables import PARTITION, Column, DeltaTable, Type
from nilometer.errors import Rejected
from nilometer.lake.schema import arrow_schema, data_type

Row = Any  # an instance of `struct(table)`: its class is made at run time

DAY_SECONDS = 86_400
_LAST_SECOND = 253_402_300_800  # the year 10000: beyond it there is no date
_DECIMALS = re.compile(r"(?:-?[0-9]{1,15}(?:\.[0-9]{1,9})?\n)*")  # of a whole column, a line each
_NULL = b"null"

_PYTHON: dict[Type, Any] = {
    Type.STRING: str,
    Type.JSON: msgspec.Raw,
    Type.INT64: int,
    Type.TIMESTAMP: str,
    Type.DECIMAL: str,
    Type.BOOL: bool,
}
_CREATED = Annotated[int, msgspec.Meta(ge=0, lt=_LAST_SECOND)]


@cache
def struct(table: DeltaTable) -> type[msgspec.Struct]:
    """What a row must look like. Unknown names are skipped: a newer producer may know more columns."""
    return msgspec.defstruct(table.name, [_field(column) for column in _incoming(table)], frozen=True, gc=False)


def decode(table: DeltaTable, rows: bytes | msgspec.Raw) -> list[Row]:
    """A JSON array of rows. `Rejected("invalid_row")` when any of them is not one."""
    try:
        return _decoder(table).decode(rows)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Rejected("invalid_row", str(error)) from error


def split(rows: bytes | msgspec.Raw) -> list[msgspec.Raw]:
    """The array's elements, unread: to find the bad ones among good neighbours."""
    try:
        return msgspec.json.decode(rows, type=list[msgspec.Raw])
    except msgspec.DecodeError as error:
        raise Rejected("invalid_json", str(error)) from error


def encode(row: Row) -> bytes:
    return msgspec.json.encode(row)


def key_of(table: DeltaTable) -> Callable[[Row], Any]:
    """A row's identity: hashable, one value or a tuple."""
    return attrgetter(*table.key)


def day_of(row: Row) -> int:
    """Days since 1970 of the row's own time: its partition."""
    day: int = row.created // DAY_SECONDS
    return day


def to_arrow(table: DeltaTable, rows: Sequence[Row], *, recorded_at: datetime) -> Table:
    """The rows with the full declared schema, stamped columns filled.

    `Rejected("invalid_row")` when a text that looks like a time is none, such as February 30th.
    """
    stamps = {PARTITION: _days(rows), "recorded_at": _instants(recorded_at, len(rows))}
    columns = [stamps[c.name] if c.stamped else _column(c, rows) for c in table.columns]
    return Table.from_arrays(columns, schema=arrow_schema(table))


def _incoming(table: DeltaTable) -> list[Column]:
    """Required names first, as a struct wants them."""
    return sorted((column for column in table.columns if not column.stamped), key=lambda column: column.nullable)


def _field(column: Column) -> Any:
    kind = _CREATED if column.name == "created" else _PYTHON[column.type]
    if not column.nullable:
        return (column.name, kind)
    if column.type is Type.JSON:
        return (column.name, kind, msgspec.Raw(_NULL))
    return (column.name, kind | None, None)


@cache
def _decoder(table: DeltaTable) -> msgspec.json.Decoder[list[Row]]:
    return msgspec.json.Decoder(list[struct(table)])  # type: ignore[misc]  # a class made at run time


def _column(column: Column, rows: Sequence[Row]) -> Array:
    values = list(map(attrgetter(column.name), rows))
    match column.type:
        case Type.JSON:
            return Array(_json_texts(values), type=DataType.binary()).cast(DataType.string())
        case Type.TIMESTAMP | Type.DECIMAL:
            return _parsed(column, values)
        case _:
            return Array(values, type=data_type(column))


def _json_texts(values: list[msgspec.Raw]) -> list[bytes | None]:
    return [None if content == _NULL else content for content in map(bytes, values)]


def _parsed(column: Column, texts: list[str | None]) -> Array:
    """Arrow reads a whole column at once. It turns what it cannot read into null, so the nulls are counted; it
    rounds a decimal of too many digits, so their form is checked before."""
    if column.type is Type.DECIMAL:
        _check_decimals(column, texts)
    read = Array(texts, type=DataType.string())
    parsed = read.cast(data_type(column))
    if parsed.null_count != read.null_count:
        raise Rejected("invalid_row", f"{column.name} holds a value that is no {column.type}")
    return parsed


def _check_decimals(column: Column, texts: list[str | None]) -> None:
    lines = "".join(f"{text}\n" for text in texts if text is not None)
    if not _DECIMALS.fullmatch(lines):
        raise Rejected("invalid_row", f"{column.name} has at most 15 digits before the point and 9 after it")


def _days(rows: Sequence[Row]) -> Array:
    days: Array = Array([day_of(row) for row in rows], type=DataType.int32()).cast(DataType.date32())
    return days


def _instants(instant: datetime, count: int) -> Array:
    microseconds = (instant - datetime.fromtimestamp(0, UTC)) // timedelta(microseconds=1)
    instants: Array = Array(array("q", [microseconds]) * count).cast(DataType.timestamp("us", tz="UTC"))
    return instants


def date_text(day: int) -> str:
    """`2026-11-23` of a number of days since 1970."""
    return datetime.fromtimestamp(day * DAY_SECONDS, UTC).date().isoformat()
