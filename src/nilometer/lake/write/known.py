"""Which keys of a batch a snapshot holds: what the anti-join of `append` reads.

The statistics in the log say how many rows lie in files of the same seconds. Few are read and compared here. Of many:

* Files that lie in the batch's own seconds are asked about by each batch. Which ids they hold is `remembered`, so most
  batches find what is new without reading anything that was read before.
* In other files, and for ids that may be there, DataFusion, which delta-rs carries, looks for the column of the key in
  which the batch differs most, and whole keys are compared here: one column costs half of what all do. Few ids stand in
  the query, in hexadecimal because a key must not become SQL, and are found by Bloom filters. Many lie in a table of
  their own in a folder for a moment, because the engine takes tables alone. That costs 5 ms, and then 0.03 microseconds
  a row and not 0.6.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from itertools import groupby

from arro3.core import Array, DataType, Field, RecordBatch, Schema, Table
from deltalake import DeltaTable, QueryBuilder, WriterProperties, write_deltalake

from nilometer.domain.lake import tables
from nilometer.domain.lake.tables import PARTITION
from nilometer.lake.tables.entries import ReadEntries, key_prints
from nilometer.lake.write import remembered
from nilometer.lake.write.rows import DAY_SECONDS, TableRows, date_text, identities

FEW = 16_384
"""Rows that are compared here; with more a join is quicker."""
_LISTED = 100  # ids in a query; with more a join is quicker
_MARGIN = timedelta(milliseconds=2)


def stored_keys(
    snapshot: DeltaTable,
    table: tables.DeltaTable,
    rows: TableRows,
    keys: Callable[[], Set[str]],
    known: Set[str] = frozenset(),
    *,
    entries: ReadEntries | None = None,
) -> set[str]:
    """Identities of those of `rows` that the snapshot holds, but what lies in files of the paths `known` may be left
    out. `keys` are those of all, asked for when it holds any row of their seconds. `entries` reads some of the log.
    Streams, so memory follows the batch and not the day."""
    ranges = list(_ranges(rows.created))
    files = [file for file in _files(snapshot) if file.path not in known and file.may_hold(ranges)]
    if not files:
        return set()
    search = _Search(snapshot, table, rows, ranges)
    may_hold = search.without_ruled_out(files, entries)
    found = search.found(may_hold, few=_are_few(files), partly=bool(known) or len(may_hold) < len(files))
    return {key for batch in found for key in keys() & set(_identities(table, batch))}


def remember(snapshot: DeltaTable, table: tables.DeltaTable, rows: TableRows, paths: Iterable[str]) -> None:
    """That the files with these paths hold `rows` and nothing else."""
    name, ids = _most_different(dict(zip(table.key, rows.key, strict=True)))
    remembered.remember([(snapshot.table_uri, name, path) for path in paths], ids)


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

    def lies_in(self, ranges: list[tuple[int, int]]) -> bool:
        """Whether half of its seconds are in these: of other files the engine leaves out what is not. False where the
        log says too little to read this file alone."""
        if self.rows is None or self.first is None or self.last is None:
            return False
        if self.recorded_from is None or self.recorded_to is None:
            return False
        shared = sum(max(0, min(last, self.last) - max(first, self.first) + 1) for first, last in ranges)
        return 2 * shared > self.last - self.first


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


class _Search:
    """For the keys of `rows` in files of a snapshot."""

    def __init__(
        self, snapshot: DeltaTable, table: tables.DeltaTable, rows: TableRows, ranges: list[tuple[int, int]]
    ) -> None:
        self._snapshot = snapshot
        self._keys = dict(zip(table.key, rows.key, strict=True))
        self._ranges = ranges
        self._select = f"SELECT {', '.join(f'stored.{name}' for name in table.key)} FROM stored"  # noqa: S608  # our own names

    def found(self, files: list[_File], *, few: bool, partly: bool) -> Iterator[RecordBatch]:
        """Rows of the files with the columns of the key; all that have a key of the batch are among them. `few` when
        not even all files of the batch's seconds are worth a search, and `partly` when the snapshot has others that
        may hold some."""
        if few and files:
            yield from self._all(self._within(files, partly=partly))
        if few:
            return
        near = [file for file in files if file.lies_in(self._ranges)]
        far = [file for file in files if not file.lies_in(self._ranges)]
        partly = partly or bool(near and far)
        ids, holders = self._possible(near)
        if ids and holders:
            yield from self._with(ids, self._within(holders, partly=partly or len(holders) < len(near)))
        if far:
            within = self._within(far, partly=partly)
            yield from self._all(within) if _are_few(far) else self._with(self._ids[1], within)

    @cached_property
    def _ids(self) -> tuple[str, set[str]]:
        return _most_different(self._keys)

    def without_ruled_out(self, files: list[_File], entries: ReadEntries | None) -> list[_File]:
        """But those that are known to hold no key of the batch."""
        uri, (name, ids) = self._snapshot.table_uri, self._ids
        named = {(uri, name, file.path): file for file in files}
        if entries is not None and not all(map(remembered.is_read, named)):
            remembered.catch_up(uri, self._snapshot.version(), entries)
        holders = remembered.may_hold(named, ids, lambda: self._key_prints)
        return [file for id_, file in named.items() if id_ in holders]

    @cached_property
    def _key_prints(self) -> frozenset[int]:
        return frozenset(key_prints(list(self._keys.values())))

    def _all(self, within: str) -> Iterator[RecordBatch]:
        yield from QueryBuilder().register("stored", self._snapshot).execute(f"{self._select} WHERE {within}")

    def _with(self, ids: Set[str], within: str) -> Iterator[RecordBatch]:
        """Rows that have one of the ids."""
        name, engine = self._ids[0], QueryBuilder().register("stored", self._snapshot)
        if len(ids) <= _LISTED:
            texts = ", ".join(f"CAST(X'{text.encode().hex()}' AS VARCHAR)" for text in ids)
            yield from engine.execute(f"{self._select} WHERE {within} AND stored.{name} IN ({texts})")
            return
        with tempfile.TemporaryDirectory() as folder:
            engine.register("batch", _value_table(folder, name, list(ids)))
            join = f"LEFT SEMI JOIN batch ON stored.{name} = batch.{name}"
            yield from engine.execute(f"{self._select} {join} WHERE {within}")

    def _within(self, files: list[_File], *, partly: bool) -> str:
        return f"({' OR '.join(map(_condition, self._ranges))}) AND {_recorded(files) if partly else 'TRUE'}"

    def _possible(self, files: list[_File]) -> tuple[Set[str], list[_File]]:
        """Those of the ids that the files may hold, and the files that may hold one."""
        name, ids = self._ids
        oldest_first = sorted(files, key=lambda file: str(file.recorded_from))
        named = {(self._snapshot.table_uri, name, file.path): file for file in oldest_first}
        rows = {id_: file.rows or 0 for id_, file in named.items()}
        held, holders = remembered.possible(rows, ids, lambda some: self._read(name, [named[id_] for id_ in some]))
        return held, [named[id_] for id_ in holders]

    def _read(self, name: str, files: list[_File]) -> Iterator[Iterable[str]]:
        """All values of the files, whatever their seconds, and perhaps some of others."""
        ranges = _ranges([second for file in files for second in (file.first, file.last) if second is not None])
        within = f"({' OR '.join(map(_condition, ranges))}) AND {_recorded(files)}"
        sql = f"SELECT stored.{name} FROM stored WHERE {within}"  # noqa: S608  # our own names and numbers
        for batch in QueryBuilder().register("stored", self._snapshot).execute(sql):
            yield batch.column(0).to_pylist()


def _most_different(keys: Mapping[str, Iterable[str]]) -> tuple[str, set[str]]:
    """The column in which the batch differs most, and what is in it."""
    return max(((name, set(values)) for name, values in keys.items()), key=lambda column: len(column[1]))


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
