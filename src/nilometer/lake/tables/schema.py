"""The declaration of a table in Arrow's and Delta's terms."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

from arro3.core import Array, DataType, Field, Schema

from nilometer.domain.lake.tables import DECIMAL_PRECISION, DECIMAL_SCALE, Column, DeltaTable, Type

APPEND_ONLY = "delta.appendOnly"
_ARROW = {
    Type.STRING: DataType.string(),
    Type.JSON: DataType.string(),
    Type.INT64: DataType.int64(),
    Type.TIMESTAMP: DataType.timestamp("us", tz="UTC"),
    Type.DATE: DataType.date32(),
    Type.DECIMAL: DataType.decimal128(DECIMAL_PRECISION, DECIMAL_SCALE),
    Type.BOOL: DataType.bool(),
    Type.DOUBLE: DataType.float64(),
}


def data_type(column: Column) -> DataType:
    """Arrow's type of a column."""
    return _ARROW[column.type]


def arrow_schema(table: DeltaTable) -> Schema:
    """All declared columns, with their meaning."""
    return Schema([field(column) for column in table.columns])


def field(column: Column, more: Mapping[str, str] | None = None) -> Field:
    """With what it means: as `comment`, which Delta keeps and engines show."""
    metadata = {"comment": column.meaning, **(more or {})}
    return Field(column.name, data_type(column), nullable=column.nullable, metadata=metadata)


def nulls(kind: DataType, count: int) -> Array:
    """A column of nulls."""
    many: Array = _null(kind).take(Array(bytes(count)))  # a third of the time of a list of so many
    return many


@cache
def _null(kind: DataType) -> Array:
    return Array([None], type=DataType.string()).cast(kind)


def properties(table: DeltaTable) -> dict[str, str]:
    """Table properties, each for a measured reason.

    * `appendOnly`: update, delete and overwrite are refused; append and compact pass. Not where rows are merged.
    * `checkpointInterval` 10: later commits are read twice on opening; the default is 100.
    * Statistics on ids and times alone: those of a payload only lengthen the log.
    """
    return {
        APPEND_ONLY: "true" if table.append_only else "false",
        "delta.checkpointInterval": "10",
        "delta.dataSkippingStatsColumns": ",".join(column.name for column in table.columns if column.statistics),
        "delta.logRetentionDuration": "interval 30 days",
        "delta.deletedFileRetentionDuration": "interval 7 days",
    }
