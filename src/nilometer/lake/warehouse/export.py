"""A DuckDB file of the lake, for dbt: the tables in a schema `nilometer`, and Fivetran's sources as views of them.

`python -m nilometer.lake.warehouse.export PLACE FILE` writes it, of a folder or an `s3://` path.
"""

from __future__ import annotations

import sys
from pathlib import Path

import duckdb

from nilometer.domain.lake.all_tables import ALL_TABLES
from nilometer.domain.lake.books import BOOKS
from nilometer.lake.metrics.metrics import text_literal
from nilometer.lake.read import query
from nilometer.lake.read.analyst import LakeStack, where
from nilometer.lake.warehouse.views import source_views

OURS = "nilometer"
"""The schema of our tables."""


def export(place: str | LakeStack, path: str | Path) -> None:
    """Writes the newest version of every table to a new DuckDB file at `path`; an older file is replaced when all is
    written.

    The tables are copied, because a view of Delta needs an extension that DuckDB loads from the network; the current
    states and the sources are views. `Unavailable` when a table cannot be read.
    """
    uri, options = where(place)
    target, unfinished = Path(path), Path(f"{path}.unfinished")
    unfinished.unlink(missing_ok=True)
    with query.connect(lake_uri=uri, storage_options=options) as connection:
        connection.execute(f"attach {text_literal(str(unfinished))} as exported")
        connection.execute(f"create schema exported.{OURS}")
        for name in ALL_TABLES:
            connection.execute(f"create table exported.{OURS}.{name} as from {name}")
        connection.execute("detach exported")
    with duckdb.connect(str(unfinished)) as file:
        file.execute(f"set schema = '{OURS}'")
        for history in BOOKS:
            file.execute(query.current_view(history))
        file.execute("set schema = 'main'")
        for statement in source_views():
            file.execute(statement)
    unfinished.replace(target)


if __name__ == "__main__":
    export(sys.argv[1], sys.argv[2])
