"""How much an append costs, in bounds so wide that only a fall breaks them; `benchmarks/lake.py` has the figures."""

from __future__ import annotations

from pathlib import Path

import pytest
from benchmarks.lake import measure_antijoin, measure_write

from nilometer.domain.lake.tables import AUDIT, USAGE, DeltaTable


@pytest.mark.parametrize(("table", "least"), [(USAGE, 0.6), (AUDIT, 0.15)], ids=["usage", "audit"])
def test_a_batch_is_written_in_the_time_of_a_copy(tmp_path: Path, table: DeltaTable, least: float) -> None:
    """From JSON to commit, among rows of the same seconds: a quarter of the measured ratio to DuckDB's copy."""
    assert measure_write(tmp_path, table, batch=4_000, repeat=3)["of_duckdb_copy"] >= least


def test_many_rows_of_the_same_seconds_cost_little(tmp_path: Path) -> None:
    """A fourth of what a comparison of each key takes: 100,000 rows in 25 ms of CPU, and four times as much here."""
    assert measure_antijoin(tmp_path, stored=100_000, batch=2_000, repeat=3)["cpu_seconds"] <= 0.1
