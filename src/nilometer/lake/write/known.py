"""Which keys of a batch a snapshot holds: what the anti-join of `append` reads.

The statistics in the log say how many rows lie in files of the same seconds. Few are read and compared here. Of many,
DataFusion, which delta-rs carries, gives those that have the column of the key in which the batch differs most in
common with it, and whole keys are compared here: one column costs half of what all do. The values of the batch lie in
a table of their own in a folder for a moment, because the engine takes tables alone, and because a key must not become
SQL. That costs 5 ms, and then 0.03 microseconds a row and not 0.6.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Set
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby

from arro3.core import Array, DataType, Field, RecordBatch, Schema, Table
from deltalake import DeltaTable, QueryBuilder, WriterProperties, write_deltalake

from nilometer.domain.lake import tables
from nilometer.domain.lake.tables import PARTITION
from nilometer.lake.write.rows import DAY_SECONDS, TableRows, date_text, identities

FEW = 16_384
"""Rows that are compared here; with more a join is quicker."""
_MARGIN = timedelta(milliseconds=2)


def stored_keys(
    snapshot: DeltaTable,
    table: tables.DeltaTable,
    rows: TableRows,
    keys: Callable[[], Set[str]],
    known: Set[str] = frozenset(),
) -> set[str]:
    """Identities of those of `rows` that the snapshot holds, but what lies in files of the paths `known` may be left
    out. `keys` are those of all, asked for when it holds any row of their seconds. Streams, so memory follows the batch
    and not the day."""
    ranges = list(_ranges(rows.created))
    files = [file for file in _files(snapshot) if file.path not in known and file.may_hold(ranges)]
    if not files:
        return set()
    within = f"({' OR '.join(map(_condition, ranges))}) AND {_recorded(files) if known else 'TRUE'}"
    found = _all(snapshot, table, within) if _are_few(files) else _joined(snapshot, table, rows, within)
    return {key for batch in found for key in keys() & set(_identities(table, batch))}


def paths(snapshot: DeltaTable) -> set[str]:
    """Of the files of this version."""
    return {file.path for file in _files(snapshot)}


@dataclass(frozen=True, slots=True)
class _File:
    """What the log says of one; None where it says nothing."""

    path: str
    rows: int | None
    first: int | None  # created
    last: int | None
    recorded_from: datetime | None
    recorded_to: datetime | None

    def may_hold(self, ranges: list[tuple[int, int]]) -> bool:
        if self.first is None or self.last is None:
            return True
        return any(first <= self.last and self.first <= last for first, last in ranges)


_STATISTICS = ("num_records", "min.created", "max.created", "min.recorded_at", "max.recorded_at")


def _files(snapshot: DeltaTable) -> list[_File]:
    files = Table.from_arrow(snapshot.get_add_actions(flatten=True))
    nothing = [None] * files.num_rows
    stored = files.column_names
    statistics = (files.column(name).to_pylist() if name in stored else nothing for name in _STATISTICS)
    return [_File(*values) for values in zip(files.column("path").to_pylist(), *statistics, strict=True)]


def _are_few(files: list[_File]) -> bool:
    return sum(FEW + 1 if file.rows is None else file.rows for file in files) <= FEW


def _recorded(files: list[_File]) -> str:
    """A condition that every row of the files meets, and few others do.

    It stands on their own statistics and on no clock. Delta cuts times in them to the millisecond.
    """
    times = [time for file in files for time in (file.recorded_from, file.recorded_to)]
    known = [time for time in times if time is not None]
    if len(known) < len(times):
        return "TRUE"
    first, last = min(known) - _MARGIN, max(known) + _MARGIN
    return f"stored.recorded_at BETWEEN TIMESTAMP '{first.isoformat()}' AND TIMESTAMP '{last.isoformat()}'"


def _all(snapshot: DeltaTable, table: tables.DeltaTable, within: str) -> Iterator[RecordBatch]:
    sql = f"SELECT {', '.join(table.key)} FROM stored WHERE {within}"  # noqa: S608  # our own names and numbers
    yield from QueryBuilder().register("stored", snapshot).execute(sql)


def _joined(snapshot: DeltaTable, table: tables.DeltaTable, rows: TableRows, within: str) -> Iterator[RecordBatch]:
    """Rows of the snapshot that have in common with the batch what it differs most in."""
    name, values = max(zip(table.key, rows.key, strict=True), key=lambda column: len(set(column[1])))
    names = ", ".join(f"stored.{column}" for column in table.key)
    sql = f"SELECT {names} FROM stored LEFT SEMI JOIN batch ON stored.{name} = batch.{name} WHERE {within}"  # noqa: S608  # as above
    with tempfile.TemporaryDirectory() as folder:
        engine = QueryBuilder().register("stored", snapshot).register("batch", _value_table(folder, name, values))
        yield from engine.execute(sql)


def _value_table(folder: str, name: str, values: list[str]) -> DeltaTable:
    schema = Schema([Field(name, DataType.string())])
    created = DeltaTable.create(folder, schema)
    properties = WriterProperties(compression="UNCOMPRESSED")
    column = Table.from_arrays([Array(values, type=DataType.string())], schema=schema)
    write_deltalake(created, column, mode="append", writer_properties=properties)
    return created


def _identities(table: tables.DeltaTable, batch: RecordBatch) -> list[str]:
    return identities([batch.column(name).to_pylist() for name in table.key])


def _ranges(created: list[int]) -> Iterator[tuple[int, int]]:
    """The first and the last second of each day: one late row must not make the query read whole days around it."""
    for _, group in groupby(sorted(set(created)), key=lambda second: second // DAY_SECONDS):
        seconds = list(group)
        yield seconds[0], seconds[-1]


def _condition(seconds: tuple[int, int]) -> str:
    first, last = seconds
    day = date_text(first // DAY_SECONDS)
    return f"(stored.{PARTITION} = DATE '{day}' AND stored.created BETWEEN {first} AND {last})"
