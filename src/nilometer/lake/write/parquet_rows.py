"""A Parquet file as columns of a dataset, without pyarrow: DataFusion, which delta-rs carries, reads it from a file.

A column may be narrower than its declaration (int32 for int64, decimal(12, 2) for decimal(24, 9)), never another type.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import msgspec
from arro3.core import Array, DataType, RecordBatchReader, Table
from deltalake import QueryBuilder
from deltalake.exceptions import DeltaError

from nilometer.domain.lake.tables import Column, Type
from nilometer.errors import Rejected
from nilometer.lake.tables.schema import data_type

INVALID_ROW, UNKNOWN_COLUMN = "invalid_row", "unknown_column"
UNPACKED_BYTES = 256_000_000
"""In memory: a small file may be a large table."""

_MAGIC = b"PAR1"


def read(columns: Sequence[Column], content: bytes) -> dict[str, Array]:
    """All `columns` by name; one that is missing is null. `Rejected`: `invalid_row`, `unknown_column`, `too_large`."""
    found = _table(content)
    if unknown := set(found.column_names) - {column.name for column in columns}:
        raise Rejected(UNKNOWN_COLUMN, f"column {min(unknown)} is not declared")
    return {column.name: _column(column, found) for column in columns}


def values(content: bytes) -> Iterator[Any]:
    """All columns of a file whose columns nobody knows, as Python's values, some thousand rows at a time. `Rejected`
    (`invalid_row`) for what is no Parquet file."""
    with _opened(content) as reader:
        for batch in reader:
            yield [column.to_pylist() for column in batch.columns]


def _table(content: bytes) -> Table:
    with _opened(content) as reader:
        return _batches(reader)


@contextmanager
def _opened(content: bytes) -> Iterator[RecordBatchReader]:
    if not content.startswith(_MAGIC):
        raise Rejected(INVALID_ROW, "the object is no Parquet file")
    with tempfile.NamedTemporaryFile(suffix=".parquet") as file:
        file.write(content)
        file.flush()
        try:
            builder = QueryBuilder()
            builder.execute(f"CREATE EXTERNAL TABLE batch STORED AS PARQUET LOCATION '{file.name}'")
            yield builder.execute("SELECT * FROM batch")
        except DeltaError as error:
            raise Rejected(INVALID_ROW, f"the object is no whole Parquet file: {error}") from error


def _batches(reader: RecordBatchReader) -> Table:
    batches, size = [], 0
    for batch in reader:
        batches.append(batch)
        size += batch.nbytes
        if size > UNPACKED_BYTES:
            raise Rejected("too_large", f"the rows have more than {UNPACKED_BYTES} bytes unpacked; split the batch")
    return Table.from_batches(batches, schema=reader.schema)


def _column(column: Column, found: Table) -> Array:
    if column.name not in found.column_names or bool(DataType.is_null(found.column(column.name).type)):
        return Array([None] * found.num_rows, type=DataType.string()).cast(data_type(column))
    values = found.column(column.name).combine_chunks()
    if not _FITS[column.type](values.type):
        stored = str(values.type).strip().removeprefix("arro3.core.DataType")
        zone = "; write times with a zone" if DataType.is_timestamp(values.type) else ""
        raise Rejected(INVALID_ROW, f"{column.name} is {stored} in the file, which is no {column.type}{zone}")
    cast: Array = values.cast(data_type(column))
    if cast.null_count != values.null_count or not _is_exact(column, values, cast):
        raise Rejected(INVALID_ROW, f"{column.name} has a value that does not fit into {column.type}")
    return cast


def _is_exact(column: Column, values: Array, cast: Array) -> bool:
    """Arrow turns what is too large into null, which was counted; it rounds decimals, and JSON it does not know."""
    match column.type:
        case Type.DECIMAL:
            return bool(cast.to_pylist() == values.to_pylist())
        case Type.JSON:
            return all(text is None or _is_json(text) for text in cast.to_pylist())
        case _:
            return True


def _is_json(text: str) -> bool:
    try:
        msgspec.json.decode(text, type=msgspec.Raw)
    except msgspec.DecodeError:
        return False
    return True


def _is_text(type_: DataType) -> bool:
    if DataType.is_dictionary(type_) and type_.value_type is not None:
        return _is_text(type_.value_type)
    return any((DataType.is_string(type_), DataType.is_large_string(type_), DataType.is_string_view(type_)))


def _is_instant(type_: DataType) -> bool:
    """A time without a zone is nobody's."""
    return bool(DataType.is_timestamp(type_)) and type_.tz is not None


_FITS: Final[dict[Type, Callable[[DataType], Any]]] = {  # the stubs take `bool` for the type of that name
    Type.STRING: _is_text,
    Type.JSON: _is_text,
    Type.INT64: DataType.is_integer,
    Type.DOUBLE: DataType.is_floating,
    Type.BOOL: DataType.is_boolean,
    Type.DATE: DataType.is_date,
    Type.TIMESTAMP: _is_instant,
    Type.DECIMAL: DataType.is_decimal,
}
