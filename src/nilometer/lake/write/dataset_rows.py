"""The content of a batch as columns of its dataset: all of its rows conform, or none is taken.

JSON is strict: nothing is guessed, cut or rounded. What Parquet may hold is in `lake.parquet_rows`.
"""

from __future__ import annotations

import re
from enum import StrEnum
from functools import cache
from operator import attrgetter
from typing import Any, Final, assert_never

import msgspec
from arro3.core import Array, DataType

from nilometer.domain.lake.tables import Column, DeltaTable, Type
from nilometer.errors import Rejected
from nilometer.lake.tables.columns import PYTHON, array_of, field, incoming
from nilometer.lake.write import parquet_rows
from nilometer.lake.write.parquet_rows import INVALID_ROW, UNKNOWN_COLUMN

Arrays = dict[str, Array]  # by column, all of one length

_FORMS: Final = {  # Arrow would take a time without an offset, and a date of another form
    Type.TIMESTAMP: (re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+(?:Z|[+-]\d\d:\d\d)"), "2026-11-23T04:14:05Z"),
    Type.DATE: (re.compile(r"\d{4}-\d\d-\d\d"), "2026-11-23"),
}


_CALENDAR: Final = {  # the years 1 to 9999, in Arrow's units
    Type.TIMESTAMP: (-62_135_596_800_000_000, 253_402_300_799_999_999),
    Type.DATE: (-719_162, 2_932_896),
}


class Format(StrEnum):
    """How the rows of a batch are encoded. The value is `format` of the event that announces it."""

    NDJSON = "ndjson"  # an object a line
    PARQUET = "parquet"


def read(table: DeltaTable, content: bytes, format_: Format) -> Arrays:
    """All declared columns by name, without the stamped ones.

    `Rejected`: `invalid_row`, `too_large`, or `unknown_column` when there is one that is not declared.
    """
    columns = incoming(table)
    match format_:
        case Format.NDJSON:
            rows = _decode(table, content)
            arrays = {column.name: _array(column, list(map(attrgetter(column.name), rows))) for column in columns}
        case Format.PARQUET:
            arrays = parquet_rows.read(columns, content)
        case _:
            assert_never(format_)
    for column in columns:
        if not column.nullable and (nulls := arrays[column.name].null_count):
            raise Rejected(INVALID_ROW, f"{column.name} is null in {nulls} rows, and is declared not to be")
        _check_values(table, column, arrays[column.name])
    return arrays


def _check_values(table: DeltaTable, column: Column, values: Array) -> None:
    """Years that no calendar has, and an empty partition, which Delta writes as a null that may not be there."""
    if column.type in _CALENDAR and len(values):
        first, last = _CALENDAR[column.type]
        found = [one for one in values.cast(DataType.int64()).to_pylist() if one is not None]
        if found and not first <= min(found) <= max(found) <= last:
            raise Rejected(INVALID_ROW, f"{column.name} has a year that is not from 1 to 9999")
    if column.name == table.partition_by and column.type is Type.STRING and "" in values.to_pylist():
        raise Rejected(INVALID_ROW, f"{column.name} is empty, and rows are in folders by it; write a word for none")


def _decode(table: DeltaTable, content: bytes) -> list[Any]:
    try:
        return _decoder(table).decode_lines(content)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        reason = UNKNOWN_COLUMN if "unknown field" in str(error) else INVALID_ROW
        raise Rejected(reason, str(error)) from error


@cache
def _decoder(table: DeltaTable) -> msgspec.json.Decoder[Any]:
    fields = [field(column, PYTHON[column.type]) for column in incoming(table)]
    row = msgspec.defstruct("Row", fields, frozen=True, gc=False, forbid_unknown_fields=True)
    return msgspec.json.Decoder(row)


def _array(column: Column, values: list[Any]) -> Array:
    if column.type in _FORMS:
        form, example = _FORMS[column.type]
        for number, value in enumerate(values):
            if value is not None and not form.fullmatch(value):
                raise Rejected(INVALID_ROW, f"{column.name} is no {column.type} - at `$[{number}]`; write {example}")
    return array_of(column, values)
