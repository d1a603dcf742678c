"""Fewer files, the same rows, one compactor at a time, writers never in the way."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from datetime import date
from itertools import count as count_up
from pathlib import Path
from typing import Any

import pytest
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError
from tests.support.lake.build import DAY, NOW, START, append, change, usage

from nilometer.domain.lake.tables import AUDIT, USAGE
from nilometer.flows.lake.maintenance import maintain
from nilometer.lake.read.query import query
from nilometer.lake.write import append as append_module
from nilometer.lake.write import maintenance
from nilometer.lake.write.append import Lake
from nilometer.lake.write.maintenance import Maintained


@pytest.fixture
def lake(lake: Lake) -> Lake:
    """Five files of a closed day and five of today."""
    for n in range(5):
        append(lake, USAGE, usage(f"old{n}", created=START - 5 * DAY), usage(f"new{n}"))
    return lake


def corrupt(lake: Lake, table: str) -> None:
    """The newest entry of its log is no JSON."""
    max(Path(lake.uri, table, "_delta_log").glob("*.json")).write_text("{")


def stray(lake: Lake, name: str, *, age_days: int = 0) -> Path:
    """A file that no version names: its writer has died, or has not committed yet."""
    path = Path(lake.uri, "usage", "event_date=2026-11-18", f"{name}.parquet")
    path.write_bytes(b"PAR1")
    then = time.time() - age_days * DAY
    os.utime(path, (then, then))
    return path


def age_what_was_removed(lake: Lake, days: int) -> None:
    """As if the log's removals had been made `days` ago, and the files written no later."""
    for entry in Path(lake.uri, "usage", "_delta_log").glob("*.json"):
        actions = [json.loads(line) for line in entry.read_text().splitlines()]
        for action in actions:
            if "remove" in action:
                action["remove"]["deletionTimestamp"] -= days * DAY * 1000
                os.utime(Path(lake.uri, "usage", action["remove"]["path"]), (START - days * DAY,) * 2)
        entry.write_text("\n".join(map(json.dumps, actions)))


def count_seconds() -> Callable[[], float]:
    """A clock that each look at it moves on by a second."""
    seconds = count_up()
    return lambda: float(next(seconds))


def parquet(lake: Lake) -> set[Path]:
    return set(Path(lake.uri, "usage").glob("event_date=*/*.parquet"))


def live(lake: Lake) -> set[Path]:
    return {Path(uri) for uri in DeltaTable(f"{lake.uri}/usage").file_uris()}


def run(lake: Lake, **options: Any) -> Maintained:
    [report] = maintain(lake, now=NOW, deadline=time.monotonic() + 60, tables=(USAGE,), **options)
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
    append(lake, USAGE, usage("late"))

    assert count(lake) == (11, 11)
    assert files(lake)["2026-11-23"] == 2


def test_rows_are_found_after_compaction(lake: Lake) -> None:
    """The anti-join reads what a compaction wrote."""
    run(lake)

    append(lake, USAGE, usage("old3", created=START - 5 * DAY))

    assert count(lake) == (10, 10)


def test_without_time_left_no_day_is_begun(lake: Lake) -> None:
    [report] = maintain(lake, now=NOW, deadline=0.0, tables=(USAGE,), monotonic=lambda: 1.0)

    assert (report.days, report.stopped) == ((), "out of time")


def test_a_table_that_is_always_out_of_time_is_cleaned(lake: Lake) -> None:
    """Clean-up used to come last, so that a table with too many days never got any."""
    abandoned = stray(lake, "abandoned", age_days=8)

    [report] = maintain(lake, now=NOW, deadline=0.0, tables=(USAGE,), monotonic=lambda: 1.0)

    assert (report.vacuumed, report.stopped) == (1, "out of time")
    assert not abandoned.exists()


def test_files_are_listed_once_a_day_and_days_compacted_each_time(lake: Lake) -> None:
    """What was abandoned waits for the run that vacuums; the checkpoint and the compaction do not."""
    abandoned = stray(lake, "abandoned", age_days=8)

    [hourly] = maintain(lake, now=NOW, deadline=1e9, tables=(USAGE,), vacuums=False)
    waited = abandoned.exists()
    [nightly] = maintain(lake, now=NOW, deadline=1e9, tables=(USAGE,))

    assert (hourly.vacuumed, waited, bool(hourly.days)) == (0, True, True)
    assert (nightly.vacuumed, abandoned.exists()) == (1, False)


def test_a_table_gets_its_share_of_the_time(lake: Lake) -> None:
    """One that could use all of it leaves the other half."""
    asked = count_seconds()

    usage_report, audit_report = maintain(lake, now=NOW, deadline=2.0, tables=(USAGE, AUDIT), monotonic=asked)

    assert usage_report.stopped == "out of time"
    assert audit_report.stopped is None


def test_what_cannot_be_cleaned_is_compacted_all_the_same(lake: Lake) -> None:
    """And said: an operator has made the table keep its files for longer."""
    DeltaTable(f"{lake.uri}/usage").alter.set_table_properties(
        {"delta.deletedFileRetentionDuration": "interval 9 days"}
    )

    report = run(lake)

    assert "retention" in (report.stopped or "")
    assert report.days == ("2026-11-18",)


def test_a_broken_day_keeps_no_other_from_being_compacted(lake: Lake) -> None:
    for n in range(2):
        append(lake, USAGE, usage(f"broken{n}", created=START - 6 * DAY))
    next(path for path in live(lake) if "2026-11-17" in str(path)).unlink()

    report = run(lake)

    assert report.stopped
    assert report.days == ("2026-11-18",)


def test_a_broken_table_keeps_no_other_from_upkeep(lake: Lake) -> None:
    append(lake, AUDIT, change("c1"))
    corrupt(lake, "audit")

    broken, sound = maintain(lake, now=NOW, deadline=time.monotonic() + 60, tables=(AUDIT, USAGE))

    assert broken.stopped
    assert (sound.days, sound.stopped) == (("2026-11-18",), None)


def test_progress_names_every_step(lake: Lake) -> None:
    heard: list[str] = []

    run(lake, progress=heard.append)

    assert heard == ["usage: cleaning", "usage: compacting 2026-11-18, 5 files, day 1 of 1"]


def test_vacuum_deletes_what_compaction_replaced_long_ago(lake: Lake) -> None:
    """And nothing that is live."""
    replaced = parquet(lake)
    run(lake)
    replaced -= live(lake)
    age_what_was_removed(lake, days=8)

    vacuumed = maintenance.vacuum(USAGE, lake_uri=lake.uri, storage_options={})

    assert {Path(lake.uri, "usage", name) for name in vacuumed.files} == replaced
    assert parquet(lake) == live(lake)
    assert count(lake) == (10, 10)


def test_vacuum_keeps_what_a_reader_may_still_read(lake: Lake) -> None:
    """Replaced six days ago: within the retention."""
    before = parquet(lake)
    run(lake)
    age_what_was_removed(lake, days=6)

    assert maintenance.vacuum(USAGE, lake_uri=lake.uri, storage_options={}).files == ()
    assert before < parquet(lake)


def test_vacuum_keeps_what_a_writer_may_still_commit(lake: Lake) -> None:
    """Of the files that no version names only those go that no writer can be working on."""
    abandoned, fresh = stray(lake, "abandoned", age_days=8), stray(lake, "fresh")

    maintenance.vacuum(USAGE, lake_uri=lake.uri, storage_options={})

    assert (abandoned.exists(), fresh.exists()) == (False, True)


def test_a_longer_retention_keeps_more(lake: Lake) -> None:
    abandoned = stray(lake, "abandoned", age_days=8)

    maintenance.vacuum(USAGE, lake_uri=lake.uri, storage_options={}, retention_hours=24 * 9)

    assert abandoned.exists()


def test_vacuum_in_a_dry_run_names_and_keeps(lake: Lake) -> None:
    abandoned = stray(lake, "abandoned", age_days=8)
    version = DeltaTable(f"{lake.uri}/usage").version()

    vacuumed = maintenance.vacuum(USAGE, lake_uri=lake.uri, storage_options={}, dry_run=True)

    assert vacuumed.files == ("event_date=2026-11-18/abandoned.parquet",)
    assert abandoned.exists()
    assert DeltaTable(f"{lake.uri}/usage").version() == version


def test_a_second_vacuum_finds_nothing(lake: Lake) -> None:
    """The log names what was deleted until a checkpoint forgets it."""
    run(lake)
    age_what_was_removed(lake, days=8)
    maintenance.vacuum(USAGE, lake_uri=lake.uri, storage_options={})

    assert maintenance.vacuum(USAGE, lake_uri=lake.uri, storage_options={}).files == ()


def test_a_table_that_cannot_be_read_is_reported(lake: Lake) -> None:
    corrupt(lake, "usage")

    assert maintenance.vacuum(USAGE, lake_uri=lake.uri, storage_options={}).stopped


def test_open_days_are_left_until_they_have_very_many_files() -> None:
    closed, busy, quiet = (
        maintenance.Day(day=day, files=n, bytes=1000)
        for day, n in (("2026-11-20", 2), ("2026-11-22", 65), ("2026-11-23", 64))
    )

    assert maintenance.worth_compacting([closed, busy, quiet], today=date(2026, 11, 23)) == [closed, busy]


def test_a_table_that_is_not_there_needs_nothing(tmp_path: Path) -> None:
    lake = Lake(uri=str(tmp_path / "none"), storage_options={})

    assert run(lake) == Maintained(table="usage")
