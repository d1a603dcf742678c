"""Fewer files, the same rows, one compactor at a time, writers never in the way."""

from __future__ import annotations

import json
import time
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError
from tests.lake.build import DAY, NOW, START, usage

from nilometer.domain.tables import USAGE
from nilometer.flows.maintenance import maintain
from nilometer.lake import append as append_module
from nilometer.lake import maintenance
from nilometer.lake.append import Lake
from nilometer.lake.maintenance import Maintained
from nilometer.lake.query import query
from nilometer.lake.rows import decode


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """Five files of a closed day and five of today."""
    lake = Lake(uri=str(tmp_path / "lake"), storage_options={})
    for n in range(5):
        append(lake, usage(f"old{n}", created=START - 5 * DAY), usage(f"new{n}"))
    return lake


def append(lake: Lake, *rows: dict[str, Any]) -> None:
    decoded = decode(USAGE, json.dumps(rows).encode())
    lake.append(USAGE, decoded, recorded_at=NOW, deadline=time.monotonic() + 30)


def run(lake: Lake, **options: Any) -> Maintained:
    [report] = maintain(lake, now=NOW, deadline=time.monotonic() + 60, tables=("usage",), **options)
    return report


def count(lake: Lake) -> tuple[Any, ...]:
    sql = "select count(*), count(distinct event_id) from usage"
    return next(query(sql, lake_uri=lake.uri, storage_options={}).rows)


def files(lake: Lake) -> dict[str, int]:
    return {day.day: day.files for day in maintenance.days(DeltaTable(f"{lake.uri}/usage"))}


def test_closed_days_become_one_file(lake: Lake) -> None:
    report = run(lake)

    assert (report.days, report.files_removed, report.files_added) == (("2026-11-18",), 5, 1)
    assert files(lake) == {"2026-11-18": 1, "2026-11-23": 5}
    assert count(lake) == (10, 10)


def test_a_second_run_finds_nothing(lake: Lake) -> None:
    run(lake)

    assert run(lake).days == ()


def test_a_dry_run_changes_nothing(lake: Lake) -> None:
    before = DeltaTable(f"{lake.uri}/usage").version()

    report = run(lake, dry_run=True)

    assert report.days == ("2026-11-18",)
    assert DeltaTable(f"{lake.uri}/usage").version() == before


def test_of_two_compactors_one_is_refused(lake: Lake) -> None:
    """Both rewrote the same files; the log refuses the second, and no row is there twice."""
    first, second = DeltaTable(f"{lake.uri}/usage"), DeltaTable(f"{lake.uri}/usage")
    maintenance.compact(first, USAGE, "2026-11-18")

    with pytest.raises(DeltaError, match="concurrent transaction deleted"):
        maintenance.compact(second, USAGE, "2026-11-18")

    assert count(lake) == (10, 10)


def test_a_writer_passes_a_compactor(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    """A compaction between reading the keys and appending costs the writer no new attempt."""
    commit = append_module._commit

    def compacted_meanwhile(*arguments: Any) -> None:
        maintenance.compact(DeltaTable(f"{lake.uri}/usage"), USAGE, "2026-11-23")
        commit(*arguments)

    monkeypatch.setattr(append_module, "_commit", compacted_meanwhile)
    append(lake, usage("late"))

    assert count(lake) == (11, 11)
    assert files(lake)["2026-11-23"] == 2


def test_rows_are_found_after_compaction(lake: Lake) -> None:
    """The anti-join reads what a compaction wrote."""
    run(lake)

    append(lake, usage("old3", created=START - 5 * DAY))

    assert count(lake) == (10, 10)


def test_without_time_left_no_day_is_begun(lake: Lake) -> None:
    [report] = maintain(lake, now=NOW, deadline=0.0, tables=("usage",), monotonic=lambda: 1.0)

    assert (report.days, report.stopped) == ((), "out of time")


def test_open_days_are_left_until_they_have_very_many_files() -> None:
    closed, busy, quiet = (
        maintenance.Day(day=day, files=n, bytes=1000)
        for day, n in (("2026-11-20", 2), ("2026-11-22", 65), ("2026-11-23", 64))
    )

    assert maintenance.worth_compacting([closed, busy, quiet], today=date(2026, 11, 23)) == [closed, busy]


def test_a_table_that_is_not_there_needs_nothing(tmp_path: Path) -> None:
    lake = Lake(uri=str(tmp_path / "none"), storage_options={})

    assert run(lake) == Maintained(table="usage")
