"""The encoding of rows for a table: JSON decoded by structs made from the declaration, then Arrow.

Rows come one by one, or many of them packed as columns (`flows.packed`), which is read in a quarter of the time.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from itertools import chain
from operator import attrgetter
from typing import Annotated, Any, Union

import msgspec
from arro3.core import Array, ChunkedArray, DataType, Table

from nilometer.domain.lake.all_tables import ALL_TABLES
from nilometer.domain.lake.tables import PARTITION, Column, DeltaTable
from nilometer.errors import Rejected
from nilometer.lake.tables.columns import PYTHON, Coded, array_of, array_of_coded, field, incoming, instants
from nilometer.lake.tables.schema import arrow_schema, data_type, nulls

DAY_SECONDS = 86_400
_LAST_SECOND = 253_402_300_800  # the year 10000: beyond it there is no date
_BETWEEN = "\ud800"
_CREATED = Annotated[int, msgspec.Meta(ge=0, lt=_LAST_SECOND)]

_Values = list[Any] | Coded[Any] | None  # of a column; None is null in every row


@dataclass(frozen=True, slots=True, kw_only=True)
class TableRows:
    """Rows of one table: in Arrow all columns but the stamped ones, in Python what the writer compares."""

    arrays: Mapping[str, list[Array]]  # by column, one after the other; the same lengths in each
    key: tuple[list[str], ...]  # the columns of the table's key
    created: list[int]  # epoch seconds
    event_ids: list[str | None]  # of the rows, or of what caused the changes

    def __len__(self) -> int:
        return len(self.created)


def decode(table: DeltaTable, rows: bytes) -> TableRows:
    """A JSON array of rows. `Rejected("invalid_row")` when any of them is not one, or says February 30th."""
    try:
        decoded = _decoder(table).decode(rows)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Rejected("invalid_row", str(error)) from error
    return _rows(table, {column.name: list(map(attrgetter(column.name), decoded)) for column in incoming(table)})


@dataclass(frozen=True, slots=True)
class PackedColumns:
    """The columns of a packed message, decoded and not yet rows."""

    table: DeltaTable
    columns: Mapping[str, _Values]

    def __len__(self) -> int:
        return len(_values(self.columns["created"]))

    def values(self, name: str) -> list[Any]:
        """Of a column, a value a row; JSON as it came."""
        return _values(self.columns[name]) or [None] * len(self)

    def rows(self) -> TableRows:
        """`Rejected("invalid_row")` when a column is of another length, or holds what is no value of its type."""
        return _rows(self.table, self.columns)


def decode_packed(body: str) -> tuple[DeltaTable, TableRows]:
    """The rows of `packed_columns`, and whose they are."""
    packed = packed_columns(body)
    return packed.table, packed.rows()


def packed_columns(body: str) -> PackedColumns:
    """`{"table", "columns"}` as the changes flow packs it, in one pass; `Rejected` when it is anything else."""
    try:
        packed = _packed_decoder().decode(body)
    except (msgspec.DecodeError, UnicodeError) as error:
        raise Rejected("invalid_row", str(error)) from error
    table = ALL_TABLES[type(packed).__name__]
    return PackedColumns(table, {column.name: getattr(packed.columns, column.name) for column in incoming(table)})


def joined(parts: Sequence[TableRows]) -> TableRows:
    """At least one, one after the other."""
    return TableRows(
        arrays={name: [array for part in parts for array in part.arrays[name]] for name in parts[0].arrays},
        key=tuple(list(chain.from_iterable(columns)) for columns in zip(*(part.key for part in parts), strict=True)),
        created=list(chain.from_iterable(part.created for part in parts)),
        event_ids=list(chain.from_iterable(part.event_ids for part in parts)),
    )


def take(rows: TableRows, positions: Sequence[int]) -> TableRows:
    """The rows at `positions`, which ascend."""
    if len(positions) == len(rows):
        return rows
    indices = Array(array("I", positions))
    return TableRows(
        arrays={name: [ChunkedArray(chunks).combine_chunks().take(indices)] for name, chunks in rows.arrays.items()},
        key=tuple([column[position] for position in positions] for column in rows.key),
        created=[rows.created[position] for position in positions],
        event_ids=[rows.event_ids[position] for position in positions],
    )


def identities(key: Sequence[Iterable[str]]) -> list[str]:
    """The columns of a key as one string a row.

    Tuples would be twice as slow, and keep the garbage collector busy for longer than the rows take to decode.
    No text of JSON or Arrow has a lone surrogate, so no two keys meet.
    """
    return list(map(_BETWEEN.join, zip(*key, strict=True)))


def to_arrow(table: DeltaTable, rows: TableRows, *, recorded_at: datetime) -> Table:
    """The full declared schema, stamped columns filled."""
    stamps = {
        PARTITION: [_days(array) for array in rows.arrays["created"]],
        "recorded_at": [instants(recorded_at, len(array)) for array in rows.arrays["created"]],
    }
    arrays = {**rows.arrays, **stamps}
    return Table.from_arrays([ChunkedArray(arrays[c.name]) for c in table.columns], schema=arrow_schema(table))


def _days(created: Array) -> Array:
    days: Array = created.cast(DataType.timestamp("s")).cast(DataType.date32())
    return days


def _rows(table: DeltaTable, columns: Mapping[str, _Values]) -> TableRows:
    """`Rejected("invalid_row")` when a column is of another length, or holds what is no value of its type."""
    created = _values(columns["created"])
    return TableRows(
        arrays={column.name: [_array(column, columns[column.name], len(created))] for column in incoming(table)},
        key=tuple(_values(columns[name]) for name in table.key),
        created=created,
        event_ids=_values(columns["event_id" if "event_id" in columns else "cause"]) or [None] * len(created),
    )


def _array(column: Column, values: _Values, count: int) -> Array:
    if values is None:
        return nulls(data_type(column), count)
    array = array_of_coded(column, values) if isinstance(values, Coded) else array_of(column, values)
    if len(array) != count:
        raise Rejected("invalid_row", f"{column.name} has {len(array)} values for {count} rows")
    return array


def _values(values: _Values) -> list[Any]:
    return values.values() if isinstance(values, Coded) else values or []


@cache
def _decoder(table: DeltaTable) -> msgspec.json.Decoder[Any]:
    """Unknown names are skipped: a newer producer may know more columns."""
    fields = [field(column, _python(column)) for column in incoming(table)]
    row: Any = msgspec.defstruct(table.name, fields, frozen=True, gc=False)
    return msgspec.json.Decoder(list[row])


@cache
def _packed_decoder() -> msgspec.json.Decoder[Any]:
    kinds = tuple(_packed(table) for table in ALL_TABLES.values())
    return msgspec.json.Decoder(Union[kinds])  # noqa: UP007  # classes made at run time


def _packed(table: DeltaTable) -> type[msgspec.Struct]:
    fields = [_column_field(column) for column in incoming(table)]
    columns: Any = msgspec.defstruct("columns", fields, frozen=True, gc=False)
    return msgspec.defstruct(table.name, [("columns", columns)], tag_field="table", tag=table.name)


def _column_field(column: Column) -> Any:
    kind: Any = _python(column)
    if column.nullable and kind is not msgspec.Raw:  # which may be null by itself
        kind |= None
    values: Any = Union[list[kind], Coded[kind]]  # noqa: UP007  # a type made at run time
    return (column.name, values | None, None) if column.nullable else (column.name, values)


def _python(column: Column) -> Any:
    return _CREATED if column.name == "created" else PYTHON[column.type]


def date_text(day: int) -> str:
    """`2026-11-23` of a number of days since 1970."""
    return datetime.fromtimestamp(day * DAY_SECONDS, UTC).date().isoformat()
