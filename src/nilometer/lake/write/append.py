"""Exactly-once append: an anti-join on a snapshot, then a compare-and-set commit of the version after it.

    open snapshot s ─▶ read the keys that s holds in the rows' days and seconds ─▶ drop them ─▶ write files of the rest
         ▲                                                               │                            │
         │ anything raised: unknown                  nothing left: done, no commit                    ▼
         │                              create version s+1 with Transaction("dedupe:<day>") of each day ─▶ done
         │                                                               │                            ▲
         │                                      it is taken, by a commit with one of these days       │
         │                                                               ▼                            │
         └── full-jitter back-off ◀── perhaps one of ours ── what keys does it say it adds? ── none: the next version

Every commit that adds rows of a day carries that day's `dedupe:<day>` id, and a version is created only by who has read
each version since its snapshot and found no key of its own in those that carry one of its ids (`staged`). Delta's own
writers are refused there. So between reading a day's keys and adding to it, nobody else added one of them. A row that
was not in s is in a file that s had not, so where a commit does not say its keys those files are read and nothing else.
A commit whose answer was lost is found by the next anti-join. No clock, lease or ledger is used.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable, Iterator, Sequence, Set
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property, partial
from itertools import chain
from typing import TypeVar

from deltalake import BloomFilterProperties, ColumnProperties, DeltaTable, Transaction, WriterProperties

from nilometer.domain.lake import tables
from nilometer.domain.lake.tables import Type
from nilometer.errors import Misconfigured, Rejected, Unavailable
from nilometer.lake.tables.entries import ReadEntries, entry_uri, key_prints
from nilometer.lake.tables.files import FilesOnDisk, TableFiles
from nilometer.lake.tables.kept import OpenTable, keep, open_again
from nilometer.lake.tables.tables import added_at, conform, open_or_create, paths, table_uri
from nilometer.lake.write import remembered, staged
from nilometer.lake.write.known import remember, stored_keys
from nilometer.lake.write.rows import DAY_SECONDS, TableRows, date_text, identities, take, to_arrow

DAYS = 31  # of one commit: each is an app id and a range in the query
ROW_GROUP_ROWS = 100_000
"""Whoever looks for one row reads the columns of its row group. DuckDB itself writes 122,880; with 50,000 a report of
all rows costs engines 3 to 9 % more."""
FALSE_POSITIVES = 0.01  # of the row groups without an id, read in vain
_PAUSE_SECONDS = 0.05
_LONGEST_PAUSE_SECONDS = 5.0

Clock = Callable[[], float]
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Appended:
    """What became of a batch: every row is in the table now, `new` of them by this call."""

    new: Sequence[int]  # their positions
    attempts: int
    version: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Lake:
    """The Delta tables below one URI. Each attempt begins with the newest version of a table, which the process keeps
    open (`lake.tables.kept`). What it knows of data files, which never change, is `remembered`.

    `files` puts rows and commits where `uri` is: on a disk, unless it is given.
    """

    uri: str
    storage_options: dict[str, str]
    files: TableFiles = field(default_factory=FilesOnDisk)

    def append(
        self,
        table: tables.DeltaTable,
        rows: TableRows,
        *,
        recorded_at: datetime,
        deadline: float,
        monotonic: Clock = time.monotonic,
    ) -> Appended:
        """Each row's key is in the table exactly once when this returns; of equal keys the first wins.

        Any number of writers, processes and repetitions; atomic per group of 31 days. `deadline` is on the
        `monotonic` clock. `Unavailable` after it: some rows may have landed, and the same call finds them.
        """
        parts = [
            self._append_days(_RowGroup(table, rows, places, recorded_at), deadline=deadline, monotonic=monotonic)
            for places in _by_days(rows)
        ]
        if len(parts) == 1:
            return parts[0]
        return Appended(
            new=list(chain.from_iterable(part.new for part in parts)),
            attempts=sum(part.attempts for part in parts),
            version=max((part.version for part in parts), default=-1),
        )

    def added_at(self, table: tables.DeltaTable, column: str) -> datetime | None:
        """When a table that is older than the column got it; None when it has had it from the start.

        Opens the table, and makes or evolves it when it must. `Unavailable` when that cannot be done.
        """
        try:
            return added_at(open_or_create(self.uri, table, self.storage_options), column)
        except Exception as error:  # delta-rs raises many kinds; another attempt may find it
            raise Unavailable(f"{table.name} cannot be opened: {type(error).__name__}") from error

    def _append_days(self, group: _RowGroup, *, deadline: float, monotonic: Clock) -> Appended:
        (missing, version), attempts = until_known(
            lambda: self._attempt(group), what=group.table.name, deadline=deadline, monotonic=monotonic
        )
        return Appended(new=_pick(group.places, missing), attempts=attempts, version=version)

    def _attempt(self, group: _RowGroup) -> tuple[Sequence[int], int]:
        entries = partial(self._entries, group.table)
        opened = open_again(self.uri, group.table, self.storage_options, entries)
        for number, commit in enumerate(opened.since, opened.snapshot.version() + 1):
            remembered.note(opened.snapshot.table_uri, number, commit)
        if opened.may_hold(_app_ids(group.rows.created), group.prints):
            opened.read_again()
        missing = group.without(group.stored_in(opened.snapshot, entries))
        version = opened.newest
        if missing:
            version, opened.entry = _commit(opened, group, missing, self)
            opened.version = version
        keep(self.uri, group.table, self.storage_options, opened)
        return missing, version

    def _entries(self, table: tables.DeltaTable, versions: Sequence[int]) -> Sequence[bytes | None]:
        uri = table_uri(self.uri, table.name)
        return self.files.read_all([entry_uri(uri, version) for version in versions])


def until_known(attempt: Callable[[], _T], *, what: str, deadline: float, monotonic: Clock) -> tuple[_T, int]:
    """The answer of the first attempt that does not raise, and its number.

    Whatever an attempt raised, its commit may have landed: so it begins by reading what is there. What it rejects for
    good is raised at once. `Unavailable` after the deadline.
    """
    failure: Exception | None = None
    for number, pause in enumerate(_pauses(), start=1):
        try:
            return attempt(), number
        except (Rejected, Misconfigured):
            raise
        except Exception as error:  # noqa: BLE001  # unknown, whatever it is
            failure = error
        if monotonic() + pause >= deadline:
            break
        time.sleep(pause)
    raise Unavailable(f"{what}: not appended in time: {failure}") from failure


class _RowGroup:
    """The rows at `places`, of at most 31 days; of equal keys the first."""

    def __init__(self, table: tables.DeltaTable, rows: TableRows, places: Sequence[int], recorded_at: datetime) -> None:
        rows = take(rows, places)
        if not any(
            len(set(column)) == len(rows) for column in reversed(rows.key)
        ):  # else one column distinguishes them
            firsts = list(_firsts(rows).values())
            rows, places = take(rows, firsts), _pick(places, firsts)
        self.table = table
        self.rows = rows
        self.places = places
        self.recorded_at = recorded_at

    @cached_property
    def keys(self) -> dict[str, int]:
        """The position of each; asked for only when the table holds something that is as old."""
        return _firsts(self.rows)

    @cached_property
    def prints(self) -> list[int]:
        """A fingerprint of each key."""
        return key_prints(self.rows.key)

    def stored_in(self, snapshot: DeltaTable, entries: ReadEntries) -> set[str]:
        """Which of the keys the snapshot holds."""
        return stored_keys(snapshot, self.table, self.rows, self._key_set, entries=entries)

    def _key_set(self) -> Set[str]:
        return self.keys.keys()

    def without(self, stored: set[str]) -> Sequence[int]:
        """The positions of what is not stored."""
        if not stored:
            return range(len(self.rows))
        return [position for key, position in self.keys.items() if key not in stored]


def _firsts(rows: TableRows) -> dict[str, int]:
    """Where each key comes first."""
    first: dict[str, int] = {}
    for position, key in enumerate(identities(rows.key)):
        first.setdefault(key, position)
    return first


def _pick(values: Sequence[int], positions: Sequence[int]) -> Sequence[int]:
    """Those at `positions`, which ascend."""
    return values if len(positions) == len(values) else [values[position] for position in positions]


def _by_days(rows: TableRows) -> Iterator[Sequence[int]]:
    """The positions of groups of at most 31 days, oldest first."""
    days = _days(rows.created)
    if len(days) <= DAYS:
        yield from [range(len(rows))] if days else []
        return
    for start in range(0, len(days), DAYS):
        group = set(days[start : start + DAYS])
        yield [position for position, second in enumerate(rows.created) if second // DAY_SECONDS in group]


def _app_ids(created: Iterable[int]) -> list[str]:
    """Of the days of the seconds, oldest first: each commit that adds rows of a day carries its id."""
    return [f"dedupe:{date_text(day)}" for day in _days(created)]


def _days(created: Iterable[int]) -> list[int]:
    return sorted({second // DAY_SECONDS for second in set(created)})


def _commit(opened: OpenTable, group: _RowGroup, positions: Sequence[int], lake: Lake) -> tuple[int, bytes]:
    """The rows are written once. When others of the same days came first, the commit alone is repeated, for as long as
    none of our keys is in what they added; the version and its entry."""
    rows, snapshot = take(group.rows, positions), opened.snapshot
    written = staged.stage(
        snapshot,
        conform(to_arrow(group.table, rows, recorded_at=group.recorded_at), snapshot),
        _pick(group.prints, positions),
        [Transaction(app_id, opened.newest + 1) for app_id in _app_ids(rows.created)],
        writer_properties(group.table),
        table_uri=table_uri(lake.uri, group.table.name),
        files=lake.files,
    )
    version = staged.commit(opened, written, lake.files, _Newcomers(opened, group.table, rows).have_none)
    remember(snapshot, group.table, rows, written.added.paths)
    return version, written.entry


class _Newcomers:
    """The files that the table did not have when the keys were read."""

    def __init__(self, opened: OpenTable, table: tables.DeltaTable, rows: TableRows) -> None:
        self._opened = opened
        self._table = table
        self._rows = rows

    @cached_property
    def _known(self) -> set[str]:
        return paths(self._opened.snapshot)

    def have_none(self) -> bool:
        """Whether none of the rows' keys is in them, as of now."""
        known = self._known
        self._opened.read_again()
        return not stored_keys(self._opened.snapshot, self._table, self._rows, _firsts(self._rows).keys, known)


def writer_properties(table: tables.DeltaTable) -> WriterProperties:
    """ZSTD(1): as small as 3 and as fast as snappy. No dictionary where almost every value differs.

    Ids have Bloom filters, because of random ones minimum and maximum say nothing: a reader of one id leaves out all
    row groups but its own. delta-rs makes a filter as small as the values of its row group allow.
    """
    bloom = BloomFilterProperties(set_bloom_filter_enabled=True, fpp=FALSE_POSITIVES, ndv=ROW_GROUP_ROWS)
    columns = {
        column.name: ColumnProperties(
            dictionary_enabled=False if column.type is Type.JSON or column.name in table.key else None,
            bloom_filter_properties=bloom if _is_id(table, column) else None,
        )
        for column in table.columns
    }
    return WriterProperties(
        compression="ZSTD", compression_level=1, max_row_group_size=ROW_GROUP_ROWS, column_properties=columns
    )


def _is_id(table: tables.DeltaTable, column: tables.Column) -> bool:
    """Text by which rows are found."""
    return column.type is Type.STRING and (column.statistics or column.name in table.key)


def _pauses() -> Iterator[float]:
    """Full jitter without end; the deadline ends it."""
    ceiling = _PAUSE_SECONDS
    while True:
        yield random.uniform(0, ceiling)
        ceiling = min(2 * ceiling, _LONGEST_PAUSE_SECONDS)
