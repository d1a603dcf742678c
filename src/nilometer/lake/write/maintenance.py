"""Upkeep of one table: fewer and larger files, checkpoints, expired logs and files. No row is ever changed.

Of two compactors that rewrite the same files the log takes the first and refuses the second, because both remove
them; two that rewrite different days both pass, rightly. That holds for the pinned version and not for every later
one (`tests/lake/write/test_canaries.py`). A transaction id could not fence them: `compact` does not write it. So one
function with a reserved concurrency of 1 spares work, and correctness rests on the log. Writers are never blocked:
an append and a compaction do not conflict, and a merge that a compaction overtook begins again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date, timedelta
from functools import partial
from itertools import groupby
from typing import Any

from arro3.core import Table
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError, TableNotFoundError

from nilometer.domain.lake import tables
from nilometer.lake.tables.tables import NO_CLEANUP, table_uri
from nilometer.lake.write.append import writer_properties

WHOLE = "*"  # sorts before every day, so it is closed
OPEN_DAYS = 2  # today and yesterday still grow
OPEN_DAY_FILES = 64  # an open day is compacted only when reading it has become slow
TARGET_BYTES = 128 * 1024 * 1024
# Longer than any reader or writer holds a snapshot: files it still needs are not deleted under it.
RETENTION_HOURS = 7 * 24
# The log refused, the storage did not answer, or a file is not as the log says: other tables are kept up all the same.
FAILURES = (DeltaError, OSError, ValueError)


@dataclass(frozen=True, slots=True, kw_only=True)
class Day:
    """The live files of one partition; of a table without partitions, all of them under the name `WHOLE`."""

    day: str
    files: int
    bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Maintained:
    """What was done to one table, or would be. `stopped` says why something is left for the next run."""

    table: str
    days: tuple[str, ...] = ()
    files_removed: int = 0
    files_added: int = 0
    vacuumed: int = 0
    stopped: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Vacuumed:
    """The files of one table that were deleted, or would be; `stopped` says why they were not."""

    table: str
    files: tuple[str, ...] = ()
    stopped: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Upkeep:
    """One table's part of a run. `progress` is called with the name of each step before it begins.

    `vacuums`: as of `clean`.
    """

    today: date
    out_of_time: Callable[[], bool]
    vacuums: bool = True
    dry_run: bool = False
    progress: Callable[[str], None] = lambda _: None

    def run(self, table: tables.DeltaTable, *, lake_uri: str, storage_options: dict[str, str]) -> Maintained:
        """Cleans, then compacts day by day, one commit each. A table that is not written yet has nothing to do.

        In this order, so that a table is cleaned even if its days take all the time. A step that fails is reported
        and keeps no other one from being taken.
        """
        report = Maintained(table=table.name)
        try:
            snapshot = DeltaTable(table_uri(lake_uri, table.name), storage_options=storage_options)
        except TableNotFoundError:
            return report
        except FAILURES as error:
            return replace(report, stopped=str(error))
        return self._compact_days(snapshot, table, _tried(report, partial(self._clean, snapshot)))

    def _clean(self, snapshot: DeltaTable, report: Maintained) -> Maintained:
        self.progress(f"{report.table}: cleaning")
        found = clean(snapshot, dry_run=self.dry_run, vacuums=self.vacuums)
        return replace(report, vacuumed=len(found))

    def _compact_days(self, snapshot: DeltaTable, table: tables.DeltaTable, report: Maintained) -> Maintained:
        found = worth_compacting(days(snapshot), today=self.today)
        for number, day in enumerate(found, start=1):
            if self.out_of_time():
                return replace(report, stopped=report.stopped or "out of time")
            self.progress(f"{table.name}: compacting {day.day}, {day.files} files, day {number} of {len(found)}")
            report = _tried(report, partial(self._compact, snapshot, table, day))
        return report

    def _compact(self, snapshot: DeltaTable, table: tables.DeltaTable, day: Day, report: Maintained) -> Maintained:
        removed, added = (day.files, 1) if self.dry_run else compact(snapshot, table, day.day)
        return replace(
            report,
            days=(*report.days, day.day),
            files_removed=report.files_removed + removed,
            files_added=report.files_added + added,
        )


def days(snapshot: DeltaTable) -> list[Day]:
    """Every partition, oldest first, from the log alone."""
    files = Table.from_arrow(snapshot.get_add_actions(flatten=True))
    partition = f"partition.{tables.PARTITION}"
    names = files.column(partition).to_pylist() if partition in files.column_names else [WHOLE] * files.num_rows
    sizes = files.column("size_bytes").to_pylist()
    ordered = sorted((str(name), int(size)) for name, size in zip(names, sizes, strict=True))
    return [_day(day, [size for _, size in group]) for day, group in groupby(ordered, key=lambda pair: pair[0])]


def worth_compacting(partitions: list[Day], *, today: date) -> list[Day]:
    """Closed days of more than one file that fits into another, and open days of very many."""
    first_open = (today - timedelta(days=OPEN_DAYS - 1)).isoformat()
    return [day for day in partitions if day.files > (_fewest(day) if day.day < first_open else OPEN_DAY_FILES)]


def compact(snapshot: DeltaTable, table: tables.DeltaTable, day: str) -> tuple[int, int]:
    """Rewrites the small files of one day; how many it removed and added.

    `CommitFailedError` when another compactor rewrote the day since the snapshot. What if the process dies in
    the middle? New files that no commit names, for `vacuum` to find.
    """
    metrics: dict[str, Any] = snapshot.optimize.compact(
        partition_filters=None if day == WHOLE else [(tables.PARTITION, "=", day)],
        target_size=TARGET_BYTES,
        writer_properties=writer_properties(table),
        post_commithook_properties=NO_CLEANUP,
    )
    return metrics["numFilesRemoved"], metrics["numFilesAdded"]


def vacuum(
    table: tables.DeltaTable,
    *,
    lake_uri: str,
    storage_options: dict[str, str],
    retention_hours: int = RETENTION_HOURS,
    dry_run: bool = False,
) -> Vacuumed:
    """Cleans and does not compact. A table that is not written yet has nothing to delete."""
    try:
        snapshot = DeltaTable(table_uri(lake_uri, table.name), storage_options=storage_options)
        files = clean(snapshot, retention_hours=retention_hours, dry_run=dry_run)
    except TableNotFoundError:
        return Vacuumed(table=table.name)
    except FAILURES as error:
        return Vacuumed(table=table.name, stopped=str(error))
    return Vacuumed(table=table.name, files=tuple(files))


def clean(
    snapshot: DeltaTable, *, retention_hours: int = RETENTION_HOURS, dry_run: bool = False, vacuums: bool = True
) -> list[str]:
    """A checkpoint, then expired logs and then the files that no version within the retention names; those files.

    Also files that no version ever named, once they are older than it: of a writer or compactor that died. Younger
    ones may belong to a commit in progress. Delta refuses a shorter retention than the table's.
    Without `vacuums` only the checkpoint, because the rest lists the whole table.
    """
    if not dry_run:
        snapshot.create_checkpoint()
    if not vacuums:
        return []
    if not dry_run:
        snapshot.cleanup_metadata()
        # The checkpoint no longer names files that earlier vacuums deleted; a table loaded before it still does.
        snapshot.load_as_version(snapshot.version())
    expired = snapshot.vacuum(retention_hours, dry_run=True, full=True)
    if expired and not dry_run:
        snapshot.vacuum(retention_hours, dry_run=False, full=True, post_commithook_properties=NO_CLEANUP)
    return expired


def _tried(report: Maintained, step: Callable[[Maintained], Maintained]) -> Maintained:
    try:
        return step(report)
    except FAILURES as error:
        return replace(report, stopped=report.stopped or str(error))


def _day(day: str, sizes: list[int]) -> Day:
    return Day(day=day, files=len(sizes), bytes=sum(sizes))


def _fewest(day: Day) -> int:
    """Files that remain after a compaction, so that a compacted day is not looked at again."""
    return 1 if day.bytes <= TARGET_BYTES else day.bytes // TARGET_BYTES + 2
