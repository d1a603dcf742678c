"""Counts the tables below a folder with an engine that is not ours; runs in `.venv/readers`, which has no nilometer.

    python reading.py ENGINE FOLDER TABLE=COLUMN ...

One JSON line: for each table the number of rows, the sum of `created`, the sum of COLUMN (exact, as text), and the
last `recorded_at` in microseconds.

    python reading.py ask FOLDER TABLE ... < statements.json

One JSON line: for each statement, given by name, its rows from Sail, every value as a text.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

Row = tuple[int, int, Any, datetime]


def polars(folder: str, tables: dict[str, str]) -> dict[str, Row]:
    import polars as pl

    def read(table: str, column: str) -> Row:
        found = pl.scan_delta(f"{folder}/{table}").select(
            pl.len(), pl.sum("created").alias("s"), pl.sum(column).alias("c"), pl.max("recorded_at").alias("r")
        )
        return found.collect().row(0)

    return {table: read(table, column) for table, column in tables.items()}


def daft(folder: str, tables: dict[str, str]) -> dict[str, Row]:
    import daft as engine

    def read(table: str, column: str) -> Row:
        col = engine.col
        found = engine.read_deltalake(f"{folder}/{table}").agg(
            col("created").count().alias("n"),
            col("created").sum().alias("s"),
            col(column).sum().alias("c"),
            col("recorded_at").max().alias("r"),
        )
        [row] = found.to_pylist()
        return row["n"], row["s"], row["c"], row["r"]

    return {table: read(table, column) for table, column in tables.items()}


def _spark(folder: str, tables: Iterable[str]) -> tuple[Any, Any]:
    """A session on a server of Sail of its own, which ends with its last name; with the tables opened by location."""
    from pysail.spark import SparkConnectServer

    server = SparkConnectServer("127.0.0.1", 0)
    server.start(background=True)
    os.environ["SPARK_REMOTE"] = f"sc://localhost:{server.listening_address[1]}"
    # Only now: on import the client looks whether a Spark with Java must be there.
    from pyspark.sql.connect.session import SparkSession

    spark = SparkSession.builder.remote(os.environ["SPARK_REMOTE"]).getOrCreate()
    spark.conf.set("spark.sql.session.timeZone", "UTC")
    for table in tables:
        spark.sql(f"create table {table} using delta location '{folder}/{table}'")  # as docs/lake.md tells
    return spark, server


def sail(folder: str, tables: dict[str, str]) -> dict[str, Row]:
    spark, _server = _spark(folder, tables)

    def read(table: str, column: str) -> Row:
        sums = f"count(*), sum(created), sum({column}), unix_micros(max(recorded_at))"
        [row] = spark.sql(f"select {sums} from {table}").collect()  # noqa: S608  # the test's own names
        return row[0], row[1], row[2], datetime.fromtimestamp(0, UTC) + timedelta(microseconds=row[3])

    return {table: read(table, column) for table, column in tables.items()}


ENGINES: dict[str, Callable[[str, dict[str, str]], dict[str, Row]]] = {"polars": polars, "daft": daft, "sail": sail}


def plain(row: Row) -> list[Any]:
    """For JSON, equal whatever the engine's own types."""
    rows, created, column, recorded_at = row
    return [
        rows,
        int(created),
        format(Decimal(column), "f"),
        (recorded_at - datetime.fromtimestamp(0, UTC)) // timedelta(microseconds=1),
    ]


def as_text(value: Any) -> str | None:
    """Equal for equal values of whatever type."""
    match value:
        case None:
            return None
        case bool():
            return str(value)
        case int() | float() | Decimal():
            return f"{Decimal(str(value)).normalize():f}"
        case datetime():
            return value.strftime("%Y-%m-%d %H:%M:%S.%f")
        case date():
            return value.isoformat()
        case list() | tuple():
            return json.dumps([as_text(one) for one in value])
        case _:
            return str(value)


def answers(folder: str, tables: Iterable[str]) -> dict[str, list[list[str | None]]]:
    spark, _server = _spark(folder, tables)
    asked = json.load(sys.stdin)
    return {
        name: [[as_text(value) for value in row] for row in spark.sql(sql).collect()] for name, sql in asked.items()
    }


def main(engine: str, folder: str, *columns: str) -> None:
    if engine == "ask":
        print(json.dumps(answers(folder, columns)), flush=True)
        os._exit(0)
    tables = dict(column.split("=") for column in columns)
    print(json.dumps({table: plain(row) for table, row in ENGINES[engine](folder, tables).items()}), flush=True)
    os._exit(0)  # threads of Daft and Sail may still run while Python ends, and crash it


if __name__ == "__main__":
    main(*sys.argv[1:])
