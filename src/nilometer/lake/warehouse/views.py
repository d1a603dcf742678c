"""The sources of Fivetran's Stripe connector as views: 27 names, each with all its columns in their types.

`stripe_sources.csv` lists what the package `dbt_stripe` asks of them on DuckDB: facts, not code.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.resources import files

from nilometer.lake.warehouse.source_columns import SOURCES

SCHEMA = "stripe"
"""The schema in which the package looks for its sources by default."""
TYPES = {
    "string": "varchar",
    "int": "bigint",
    "float": "double",
    "numeric": "decimal(28,6)",
    "boolean": "boolean",
    "timestamp": "timestamp",
}
"""Of the list's types, DuckDB's. Amounts in minor units may be larger than an integer."""


@cache
def source_columns() -> Mapping[str, Mapping[str, str]]:
    """By source: its columns in order, with the type that the package gives them."""
    found: dict[str, dict[str, str]] = {}
    text = files(__package__).joinpath("stripe_sources.csv").read_text()
    for row in csv.DictReader(text.splitlines()):
        found.setdefault(row["source"], {})[row["column"]] = row["type"]
    return found


def source_views() -> Iterator[str]:
    """Statements that create them over the tables and views of a schema `nilometer`."""
    yield f"create schema if not exists {SCHEMA}"
    for name, columns in source_columns().items():
        source = SOURCES[name]
        shown = ",\n  ".join(
            f'{_typed(source.columns.get(column, "null"), kind)} as "{column}"' for column, kind in columns.items()
        )
        yield f"create view {SCHEMA}.{name} as select\n  {shown}\nfrom {source.rows}"


def _typed(expression: str, kind: str) -> str:
    """Times without a zone, in UTC, as the connector writes them."""
    if kind == "timestamp" and expression != "null":
        return f"timezone('UTC', {expression})"
    return f"cast({expression} as {TYPES[kind]})"
