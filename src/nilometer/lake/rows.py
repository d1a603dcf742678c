"""Rows on their way into a table: JSON decoded by a struct made from the declaration, then Arrow, column by column.

JSON columns stay raw bytes from the queue to the file. Times and decimals stay text until Arrow parses a whole
column at once: a tenth of the cost of Python's own objects.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import chain
from operator import attrgetter
from typing import Annotated, Any, Union

import msgspec
from arro3.core import Array, DataType, RecordBatch, Table

from nilometer.domain.tables import PARTITION, TABLES, Column, DeltaTable, Type
from nilometer.errors import Rejected
from nilometer.lake.schema import arrow_schema, data_type

Row = Any  # an instance of `struct(table)`: its class is made at run time
Columns = dict[str, list[Any]]  # a batch: a list of values for each column that is not stamped, all of one length

DAY_SECONDS = 86_400
_LAST_SECOND = 253_402_300_800  # the year 10000: beyond it there is no date
_DECIMALS = re.compile(r"(?:-?[0-9]{1,15}(?:\.[0-9]{1,9})?\n)*")  # of a whole column, a line each
_NULL = b"null"
_BATCH_ROWS = 5000  # of one Arrow array: of payloads, twice as many would cost four times as much in fresh memory

PYTHON: dict[Type, Any] = {
    Type.STRING: str,
    Type.JSON: msgspec.Raw,
    Type.INT64: Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)],
    Type.TIMESTAMP: str,
    Type.DECIMAL: str,
    Type.BOOL: bool,
    Type.DATE: str,
    Type.DOUBLE: float,
}
_CREATED = Annotated[int, msgspec.Meta(ge=0, lt=_LAST_SECOND)]


@cache
def struct(table: DeltaTable) -> type[msgspec.Struct]:
    """What a row must look like. Unknown names are skipped: a newer producer may know more columns."""
    fields = [field(c, _CREATED if c.name == "created" else PYTHON[c.type]) for c in incoming(table)]
    return msgspec.defstruct(table.name, fields, frozen=True, gc=False)


def decode(table: DeltaTable, rows: bytes | msgspec.Raw) -> Columns:
    """A JSON array of rows, turned on its side. `Rejected("invalid_row")` when any of them is not one."""
    try:
        return _turned(table, _decoder(table).decode(rows))
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Rejected("invalid_row", str(error)) from error


def decode_packed(body: str) -> tuple[DeltaTable, Columns]:
    """`{"table", "rows"}` as the changes flow packs it, in one pass; `Rejected` when it is anything else."""
    try:
        packed = _packed_decoder().decode(body)
    except (msgspec.DecodeError, UnicodeError) as error:
        raise Rejected("invalid_row", str(error)) from error
    table = TABLES[type(packed).__name__]
    return table, _turned(table, packed.rows)


def empty(table: DeltaTable) -> Columns:
    return {column.name: [] for column in incoming(table)}


def count(columns: Columns) -> int:
    return len(columns["created"])


def joined(table: DeltaTable, batches: Iterable[Columns]) -> Columns:
    """One batch after the other."""
    parts = list(batches)
    return {name: list(chain.from_iterable(part[name] for part in parts)) for name in empty(table)}


def take(columns: Columns, positions: Sequence[int]) -> Columns:
    """The rows at `positions`, in that order."""
    return {name: [values[position] for position in positions] for name, values in columns.items()}


def split(rows: bytes | msgspec.Raw) -> list[msgspec.Raw]:
    """The array's elements, unread: to find the bad ones among good neighbours."""
    try:
        return msgspec.json.decode(rows, type=list[msgspec.Raw])
    except msgspec.DecodeError as error:
        raise Rejected("invalid_json", str(error)) from error


def encode(columns: Columns) -> bytes:
    """JSON for people: to keep what could not be stored."""
    return msgspec.json.encode(columns)


def keys(table: DeltaTable, columns: Columns) -> list[Any]:
    """The rows' identities: hashable, one value or a tuple each."""
    first, *others = (columns[name] for name in table.key)
    return list(zip(first, *others, strict=True)) if others else first


def to_arrow(table: DeltaTable, columns: Columns, *, recorded_at: datetime) -> Table:
    """The batch with the full declared schema, stamped columns filled.

    `Rejected("invalid_row")` when a text that looks like a time is none, such as February 30th.
    """
    parts = (
        {name: values[start : start + _BATCH_ROWS] for name, values in columns.items()}
        for start in range(0, count(columns), _BATCH_ROWS)
    )
    return Table.from_batches([_record_batch(table, part, recorded_at) for part in parts], schema=arrow_schema(table))


def _record_batch(table: DeltaTable, columns: Columns, recorded_at: datetime) -> RecordBatch:
    stamps = {PARTITION: _days(columns["created"]), "recorded_at": instants(recorded_at, count(columns))}
    arrays = [stamps[c.name] if c.stamped else array_of(c, columns[c.name]) for c in table.columns]
    return RecordBatch.from_arrays(arrays, schema=arrow_schema(table))


def _turned(table: DeltaTable, rows: list[Row]) -> Columns:
    return {column.name: list(map(attrgetter(column.name), rows)) for column in incoming(table)}


def incoming(table: DeltaTable) -> list[Column]:
    """Required names first, as a struct wants them."""
    return sorted((column for column in table.columns if not column.stamped), key=lambda column: column.nullable)


def field(column: Column, kind: Any) -> Any:
    """Of a struct: its name, its type, and null where it may be left out."""
    if not column.nullable:
        return (column.name, kind)
    if column.type is Type.JSON:
        return (column.name, kind, msgspec.Raw(_NULL))
    return (column.name, kind | None, None)


@cache
def _decoder(table: DeltaTable) -> msgspec.json.Decoder[list[Row]]:
    return msgspec.json.Decoder(list[struct(table)])  # type: ignore[misc]  # a class made at run time


@cache
def _packed_decoder() -> msgspec.json.Decoder[Any]:
    kinds = tuple(_packed(table) for table in TABLES.values())
    return msgspec.json.Decoder(Union[kinds])  # noqa: UP007  # classes made at run time


def _packed(table: DeltaTable) -> type[msgspec.Struct]:
    rows: Any = list[struct(table)]  # type: ignore[misc]  # a class made at run time
    return msgspec.defstruct(table.name, [("rows", rows)], tag_field="table", tag=table.name)


def array_of(column: Column, values: list[Any]) -> Array:
    """Values as their decoder left them. `Rejected("invalid_row")` for a text that is no time, date or decimal."""
    match column.type:
        case Type.JSON:
            return Array(_json_texts(values), type=DataType.binary()).cast(DataType.string())
        case Type.TIMESTAMP | Type.DECIMAL | Type.DATE:
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
    lines = "\n".join([*filter(None, texts), ""])
    if not _DECIMALS.fullmatch(lines):
        raise Rejected("invalid_row", f"{column.name} has at most 15 digits before the point and 9 after it")


def _days(created: list[int]) -> Array:
    days: Array = Array([second // DAY_SECONDS for second in created], type=DataType.int32()).cast(DataType.date32())
    return days


def instants(instant: datetime, count: int) -> Array:
    microseconds = (instant - datetime.fromtimestamp(0, UTC)) // timedelta(microseconds=1)
    instants: Array = Array(array("q", [microseconds]) * count).cast(DataType.timestamp("us", tz="UTC"))
    return instants


def date_text(day: int) -> str:
    """`2026-11-23` of a number of days since 1970."""
    return datetime.fromtimestamp(day * DAY_SECONDS, UTC).date().isoformat()
