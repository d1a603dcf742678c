"""The tables of the lake in Glue's data catalog, from their declarations: names, types, meanings and places."""

from __future__ import annotations

import json

from docs.template import shapes

from nilometer.domain.lake.all_tables import ALL_TABLES
from nilometer.domain.lake.tables import DECIMAL_PRECISION, DECIMAL_SCALE, Column, DeltaTable, Type

TYPES = {
    Type.STRING: "string",
    Type.JSON: "string",
    Type.INT64: "bigint",
    Type.TIMESTAMP: "timestamp",
    Type.DATE: "date",
    Type.DECIMAL: f"decimal({DECIMAL_PRECISION},{DECIMAL_SCALE})",
    Type.BOOL: "boolean",
    Type.DOUBLE: "double",
}
LONGEST_COMMENT = 255  # characters; Glue's own bound


def catalog() -> str:
    """A resource a table."""
    return "\n".join(map(_table, ALL_TABLES.values()))


def _table(table: DeltaTable) -> str:
    resource = "Catalog" + "".join(part.capitalize() for part in table.name.split("_"))
    head = shapes.CATALOG_TABLE.replace("<resource>", resource).replace("<name>", table.name)
    return head.replace("<meaning>", json.dumps(table.meaning)) + "".join(map(_column, table.columns))


def _column(column: Column) -> str:
    comment = json.dumps(column.meaning[:LONGEST_COMMENT])
    return f'            - {{Name: {column.name}, Type: "{TYPES[column.type]}", Comment: {comment}}}\n'
