"""Everybody who reads Delta reads the same of every book: delta-rs, DuckDB, Polars, Daft, and Sail with Spark."""

from __future__ import annotations

import json
import os
import subprocess
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from deltalake import DeltaTable, QueryBuilder
from tests.support.lake.build import DAY, NOW, START, instant
from tests.support.lake.reading import plain
from tests.support.project import ROOT

import nilometer.lake
from nilometer.domain.lake import tables
from nilometer.domain.lake.books import BOOKS
from nilometer.domain.lake.tables import Type
from nilometer.lake.read.query import query
from nilometer.lake.write.append import Lake
from nilometer.lake.write.rows import decode

ROWS = 30  # of each table, over two days
COMMITS = 3
READERS = ROOT / ".venv/readers/bin/python"
VALUES: dict[Type, Any] = {
    Type.STRING: "x",
    Type.JSON: {"a": [1]},
    Type.INT64: 7,
    Type.BOOL: False,
    Type.DECIMAL: "12.500000001",
    Type.TIMESTAMP: instant(START),
}


def summed(table: tables.DeltaTable) -> str:
    """A column of the object's own with numbers, exact ones first."""
    own = [c for c in table.columns if c.name not in {"created", "rank"}]
    found = [c.name for kind in (Type.DECIMAL, Type.INT64) for c in own if c.type is kind]
    return [*found, "created"][0]


COLUMNS = {name: summed(table) for name, table in BOOKS.items()}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    where = tmp_path_factory.mktemp("lake")
    lake = Lake(uri=str(where), storage_options={})
    for table in BOOKS.values():
        for batch in range(COMMITS):
            rows = decode(table, json.dumps([_row(table, n) for n in range(batch, ROWS, COMMITS)]).encode())
            lake.append(table, rows, recorded_at=NOW + timedelta(seconds=batch), deadline=time.monotonic() + 30)
    return where


def _row(table: tables.DeltaTable, number: int) -> dict[str, Any]:
    values = {c.name: VALUES[c.type] for c in table.columns if not c.stamped and c.type in VALUES}
    return values | {"change_id": f"c{number}", "created": START + number % 2 * DAY + number}


def expected() -> dict[str, list[Any]]:
    created = sum(START + number % 2 * DAY + number for number in range(ROWS))
    recorded = int((NOW + timedelta(seconds=COMMITS - 1)).timestamp()) * 1_000_000
    sums = dict.fromkeys(COLUMNS.values(), str(7 * ROWS)) | {"created": str(created), "percent_off": "375.000000030"}
    return {name: [ROWS, created, sums[column], recorded] for name, column in COLUMNS.items()}


def _sql(table: str) -> str:
    return f"select count(*), sum(created), sum({COLUMNS[table]}) as summed, max(recorded_at) from {table}"  # noqa: S608  # our names


def test_delta_rs_reads_every_book(folder: Path) -> None:
    """With its own query engine."""
    found = {}
    for name in BOOKS:
        [batch] = QueryBuilder().register(name, DeltaTable(str(folder / name))).execute(_sql(name))
        found[name] = plain(tuple(column[0].as_py() for column in batch.columns))

    assert found == expected()


def test_duckdb_reads_every_book(folder: Path) -> None:
    """As `nilometer query` asks it."""
    found = {name: next(query(_sql(name), lake_uri=str(folder), storage_options={}).rows) for name in BOOKS}

    assert {name: plain(row) for name, row in found.items()} == expected()


@pytest.mark.parametrize("engine", ["polars", "daft", "sail"])
def test_other_engines_read_every_book(folder: Path, engine: str) -> None:
    """In a venv of their own: their pins and ours exclude each other."""
    if not READERS.exists():
        pytest.skip("no .venv/readers: `make test` installs it")
    done = subprocess.run(
        [READERS, str(ROOT / "tests/support/lake/reading.py"), engine, str(folder)]
        + [f"{name}={column}" for name, column in COLUMNS.items()],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        env={**os.environ, "DO_NOT_TRACK": "true", "SCARF_NO_ANALYTICS": "true"},
    )

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == expected()


def test_duckdb_and_delta_rs_show_what_columns_mean(folder: Path) -> None:
    """Of every book: the comments that Delta keeps, and those of the views."""
    lake = nilometer.lake.connect(str(folder))
    shown: dict[str, dict[str, str]] = {}
    for name, column, comment in lake.sql("select table_name, column_name, comment from duckdb_columns()").fetchall():
        shown.setdefault(name, {})[column] = comment

    for name, table in BOOKS.items():
        stored = DeltaTable(str(folder / name))
        meanings = {column.name: column.meaning for column in table.columns}
        assert shown[name] == meanings == {field.name: field.metadata["comment"] for field in stored.schema().fields}
        assert stored.metadata().description == table.meaning
