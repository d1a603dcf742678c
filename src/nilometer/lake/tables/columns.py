"""The conversion of a column's values to Arrow, a whole column at once.

JSON columns stay raw bytes from the queue to the file. Times and decimals stay text until Arrow parses them: a tenth of
the cost of Python's own objects.
"""

from __future__ import annotations

import re
from array import array
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Generic, TypeVar

import msgspec
from arro3.core import Array, DataType

from nilometer.domain.lake.tables import Column, DeltaTable, Type
from nilometer.errors import Rejected
from nilometer.lake.tables.schema import data_type

_DECIMALS = re.compile(r"(?:-?[0-9]{1,15}(?:\.[0-9]{1,9})?\n)*")  # of a whole column, a line each
_NULL = b"null"

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

_T = TypeVar("_T")


class Coded(msgspec.Struct, Generic[_T], frozen=True, gc=False):
    """A column in Arrow's dictionary encoding: each value once, and for each row which it has, a byte, in base64."""

    dictionary: list[_T]
    indices: bytes

    def __post_init__(self) -> None:
        """To the decoder it is a column of another type; Arrow would crash the process."""
        if self.indices.translate(None, bytes(range(len(self.dictionary)))):
            raise ValueError("an index without a value")

    def values(self) -> list[_T]:
        """A value a row."""
        return list(map(self.dictionary.__getitem__, self.indices))


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


def array_of(column: Column, values: list[Any]) -> Array:
    """Values as their decoder left them. `Rejected("invalid_row")` for a text that is no time, date or decimal."""
    match column.type:
        case Type.JSON:
            return Array(_json_texts(values), type=DataType.binary()).cast(DataType.string())
        case Type.DECIMAL:
            return _decimals(column, values)
        case Type.TIMESTAMP | Type.DATE:
            return _cast(column, Array(values, type=DataType.string()))
        case _:
            return Array(values, type=data_type(column))


def array_of_coded(column: Column, coded: Coded[Any]) -> Array:
    """As `array_of`, each value read once."""
    return array_of(column, coded.dictionary).take(Array(coded.indices))


def _json_texts(values: list[msgspec.Raw]) -> list[bytes | None]:
    return [None if content == _NULL else content for content in map(bytes, values)]


def _decimals(column: Column, texts: list[str | None]) -> Array:
    """Arrow would round a decimal of too many digits, so their form is checked. Whole numbers it reads without, in a
    tenth of the time."""
    read = Array(texts, type=DataType.string())
    lines = "\n".join([*filter(None, texts), ""])
    whole = read.cast(DataType.int64())
    if whole.null_count == read.null_count and "+" not in lines:
        return _cast(column, whole)
    if not _DECIMALS.fullmatch(lines):
        raise Rejected("invalid_row", f"{column.name} has at most 15 digits before the point and 9 after it")
    return _cast(column, read)


def _cast(column: Column, read: Array) -> Array:
    """Arrow turns what it cannot read into null, so the nulls are counted."""
    parsed = read.cast(data_type(column))
    if parsed.null_count != read.null_count:
        raise Rejected("invalid_row", f"{column.name} has a value that is no {column.type}")
    return parsed


def instants(instant: datetime, count: int) -> Array:
    """The same instant in every row, as a timestamp in UTC."""
    microseconds = (instant - datetime.fromtimestamp(0, UTC)) // timedelta(microseconds=1)
    instants: Array = Array(array("q", [microseconds]) * count).cast(DataType.timestamp("us", tz="UTC"))
    return instants
