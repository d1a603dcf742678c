"""Everybody who reads Delta reads the same: delta-rs, DuckDB, Polars, Daft, and Sail with Spark's client."""

from __future__ import annotations

import json
import os
import subprocess
import time
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from deltalake import DeltaTable, QueryBuilder
from tests.support.lake.build import DAY, NOW, START, change, stripe_event, usage
from tests.support.lake.reading import plain
from tests.support.project import ROOT

from nilometer.domain.lake.tables import AUDIT, STRIPE_EVENTS, TABLES, USAGE
from nilometer.lake.read.query import query
from nilometer.lake.write.append import Lake
from nilometer.lake.write.maintenance import compact
from nilometer.lake.write.rows import decode

ROWS = 300  # of each table
DAYS = 3  # over which they spread
COMMITS = 14  # with a checkpoint after the tenth
COLUMNS = {"usage": "quantity", "stripe_events": "created", "audit": "created"}
READERS = ROOT / ".venv/readers/bin/python"

Counts = dict[str, list[Any]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tables with a checkpoint, commits after it, and files that a compaction replaced: the log must be read."""
    where = tmp_path_factory.mktemp("lake")
    lake = Lake(uri=str(where), storage_options={})
    for table, row in ((USAGE, _usage), (STRIPE_EVENTS, _stripe_event), (AUDIT, _change)):
        for batch in range(COMMITS):
            rows = decode(table, json.dumps([row(n) for n in range(batch, ROWS, COMMITS)]).encode())
            lake.append(table, rows, recorded_at=NOW + timedelta(seconds=batch), deadline=time.monotonic() + 30)
            if batch == COMMITS - 2:
                compact(DeltaTable(str(where / table.name)), table, "2026-11-24")
    return where


def _usage(number: int) -> dict[str, Any]:
    return usage(f"u{number}", created=_second(number), quantity=str(Decimal(number) / 1000))


def _stripe_event(number: int) -> dict[str, Any]:
    return stripe_event(f"evt_{number}", created=_second(number))


def _change(number: int) -> dict[str, Any]:
    return change(f"c{number}", created=_second(number))


def _second(number: int) -> int:
    return START + number % DAYS * DAY + number


def expected() -> Counts:
    created = sum(map(_second, range(ROWS)))
    recorded = int((NOW + timedelta(seconds=COMMITS - 1)).timestamp()) * 1_000_000
    used = format(sum(Decimal(number) / 1000 for number in range(ROWS)).quantize(Decimal("1e-9")), "f")
    return {table: [ROWS, created, used if table == "usage" else str(created), recorded] for table in COLUMNS}


def _sql(table: str) -> str:
    return f"select count(*), sum(created), sum({COLUMNS[table]}) as used, max(recorded_at) from {table}"  # noqa: S608  # our names


def test_reader_version_1_is_enough(folder: Path) -> None:
    """And no feature that a reader could lack."""
    for table in TABLES:
        protocol = DeltaTable(str(folder / table)).protocol()

        assert (protocol.min_reader_version, protocol.reader_features) == (1, None)


def test_the_log_has_what_readers_stumble_over(folder: Path) -> None:
    """A checkpoint, and data files that are no longer part of the table."""
    for table in TABLES:
        live = {uri.rpartition("/")[2] for uri in DeltaTable(str(folder / table)).file_uris()}
        files = {file.name for file in (folder / table).glob("event_date=*/*.parquet")}

        assert (folder / table / "_delta_log/_last_checkpoint").exists()
        assert files > live


def test_delta_rs_reads_it(folder: Path) -> None:
    found = {}
    for table in TABLES:
        [batch] = QueryBuilder().register(table, DeltaTable(str(folder / table))).execute(_sql(table))
        found[table] = plain(tuple(column[0].as_py() for column in batch.columns))

    assert found == expected()


def test_duckdb_reads_it(folder: Path) -> None:
    found = {table: next(query(_sql(table), lake_uri=str(folder), storage_options={}).rows) for table in TABLES}

    assert {table: plain(row) for table, row in found.items()} == expected()


@pytest.mark.parametrize("engine", ["polars", "daft", "sail"])
def test_others_read_it(folder: Path, engine: str) -> None:
    """In a venv of their own: their pins and ours exclude each other."""
    if not READERS.exists():
        pytest.skip("no .venv/readers: `make test` installs it")
    columns = [f"{table}={column}" for table, column in COLUMNS.items()]
    script = str(ROOT / "tests/support/lake/reading.py")
    quiet = {**os.environ, "DO_NOT_TRACK": "true", "SCARF_NO_ANALYTICS": "true"}  # Daft tells its makers otherwise
    done = subprocess.run(
        [READERS, script, engine, str(folder), *columns],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        env=quiet,
    )

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == expected()
