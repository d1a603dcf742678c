"""How much an append costs, in bounds so wide that only a fall breaks them; `benchmarks/lake.py` has the figures."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from benchmarks.lake import measure_antijoin, measure_write
from tests.support.project import least

from nilometer.domain.lake.tables import AUDIT, USAGE, DeltaTable


@pytest.mark.parametrize(("table", "most"), [(USAGE, 1 / 0.6), (AUDIT, 1 / 0.15)], ids=["usage", "audit"])
def test_a_batch_is_written_in_the_time_of_a_copy(tmp_path: Path, table: DeltaTable, most: float) -> None:
    """From JSON to commit, among rows of the same seconds: a quarter of the measured ratio to DuckDB's copy."""

    def copies() -> float:
        (folder := tmp_path / str(next(numbers))).mkdir()
        return 1 / float(measure_write(folder, table, batch=4_000, repeat=3)["of_duckdb_copy"])

    numbers = itertools.count()
    assert least(copies, wanted=most) <= most


def test_many_rows_of_the_same_seconds_cost_little(tmp_path: Path) -> None:
    """A sixth of what a comparison of each key takes: 100,000 rows in 15 ms of CPU, and four times as much here."""

    def seconds() -> float:
        return float(
            measure_antijoin(tmp_path / str(next(numbers)), stored=100_000, batch=2_000, repeat=3)["cpu_seconds"]
        )

    numbers = itertools.count()
    assert least(seconds, wanted=0.06) <= 0.06
