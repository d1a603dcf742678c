"""The lake in an analyst's own Python: all tables and views in DuckDB.

import nilometer, nilometer.lake

lake = nilometer.lake.connect(nilometer.connect())
lake.sql("select status, count(*) from subscriptions group by status").show()
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any, Protocol

import duckdb

from nilometer.domain.lake.all_tables import ALL_TABLES
from nilometer.domain.lake.books import HISTORY
from nilometer.lake.metrics.metrics import text_literal
from nilometer.lake.read import query
from nilometer.lake.tables.storage import storage_options


class LakeStack(Protocol):
    """What `nilometer.connect()` gives: a stack's names and what its AWS clients need beyond the environment."""

    @property
    def names(self) -> Mapping[str, str]:
        """Its outputs by name; `LakeBucket` is asked for."""

    @property
    def where(self) -> Mapping[str, Any]:
        """boto3's own arguments; empty on AWS."""


def connect(place: str | LakeStack) -> duckdb.DuckDBPyConnection:
    """DuckDB with a view per table, and of the current state per book, of a stack, an `s3://` path or a folder.

    Each table is as it is now; connect again to see what came since. `Unavailable` when a table cannot be read.
    """
    uri, options = where(place)
    connection = query.connect(lake_uri=uri, storage_options=options)
    query.set_variables(connection)
    connection.execute("".join(_comments()))
    return connection


def _comments() -> Iterator[str]:
    """What each column means and each table is, where `duckdb_columns()` and `duckdb_views()` show it."""
    for table in ALL_TABLES.values():
        views = {table.name, table.name.removesuffix(HISTORY)}
        for view in sorted(views):
            yield f"COMMENT ON VIEW {view} IS {text_literal(table.meaning)};"
            for column in table.columns:
                yield f"COMMENT ON COLUMN {view}.{column.name} IS {text_literal(column.meaning)};"


def where(place: str | LakeStack) -> tuple[str, dict[str, str]]:
    """The lake's URI and delta-rs' options for it."""
    if isinstance(place, str):
        return place, storage_options(os.environ)
    given = {_VARIABLES[name]: str(value) for name, value in place.where.items() if name in _VARIABLES and value}
    return f"s3://{place.names['LakeBucket']}/lake", storage_options({**os.environ, **given})


_VARIABLES = {
    "endpoint_url": "AWS_ENDPOINT_URL",
    "region_name": "AWS_REGION",
    "aws_access_key_id": "AWS_ACCESS_KEY_ID",
    "aws_secret_access_key": "AWS_SECRET_ACCESS_KEY",
}
