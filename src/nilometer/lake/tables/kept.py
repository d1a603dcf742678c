"""Tables that a process keeps open between two batches.

What came since is read from the entries of the log, all at once: they say what they add (`entries`), so delta-rs need
not list the log and read them, one after the other, for each batch. It does when an entry changes more than that, or
when they are many.

A table may be another one meanwhile: deleted and made again, or put back from a copy. So it is kept with the last entry
that this process wrote, and used again only while that entry is in the log: nobody else writes the same one, and what
comes before an entry never changes. Who uses a table has it for himself: it is taken out, and put back when nothing
failed.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from deltalake import DeltaTable
from deltalake.exceptions import DeltaError

from nilometer.domain.lake import tables
from nilometer.lake.tables.entries import AT_ONCE, Commit, ReadEntries
from nilometer.lake.tables.tables import evolve, open_or_create, table_uri

MOST = 50
"""Tables that are kept. A process has the few of its lake."""
MOST_COMMITS = 30
"""After the snapshot; with more, delta-rs reads it again. A batch is compared with the keys of all."""

_Place = tuple[str, frozenset[tuple[str, str]], tuple[str, ...]]  # URI, options of its store, declared columns
_kept: dict[_Place, OpenTable] = {}


@dataclass(slots=True)
class OpenTable:
    """A snapshot, and the commits that came after it. `version` and `entry` are the last that this process added, None
    before it has."""

    snapshot: DeltaTable
    since: list[Commit] = field(default_factory=list)
    version: int | None = None
    entry: bytes = b""
    expected: int = 1
    """Versions to look for first: one more than came the last time."""

    @property
    def newest(self) -> int:
        """The version that is known."""
        return self.snapshot.version() + len(self.since)

    def add(self, version: int, commit: Commit) -> None:
        """What made the version, unless it is known."""
        if version == self.newest + 1:
            self.since.append(commit)

    def may_hold(self, app_ids: Collection[str], keys: Collection[int]) -> bool:
        """Whether a commit after the snapshot may have added one of the keys, which are of commits with these ids."""
        return any(commit.may_add(app_ids, keys) for commit in self.since)

    def read_again(self) -> None:
        """The newest version as a snapshot. `DeltaError` when the log is an older one."""
        _update(self.snapshot)
        self.since.clear()


def open_again(
    lake_uri: str,
    table: tables.DeltaTable,
    storage_options: Mapping[str, str],
    entries: ReadEntries,
) -> OpenTable:
    """The newest version of the table, with every declared column, as `open_or_create`. `keep` gives it back."""
    kept = _kept.pop(_place(lake_uri, table, storage_options), None)
    if kept is not None and _is_current(kept, table, entries):
        return kept
    return OpenTable(open_or_create(lake_uri, table, dict(storage_options)))


def keep(lake_uri: str, table: tables.DeltaTable, storage_options: Mapping[str, str], opened: OpenTable) -> None:
    """For the next batch, if it can be known again."""
    if opened.version is not None:
        if len(_kept) >= MOST:
            _kept.clear()
        _kept[_place(lake_uri, table, storage_options)] = opened


def _is_current(kept: OpenTable, table: tables.DeltaTable, entries: ReadEntries) -> bool:
    """Whether it is still the same table; then it has its newest version."""
    if (came := _came(kept, entries)) is None:
        return False
    kept.expected = len(came) + 1
    commits = kept.since + came
    if len(commits) <= MOST_COMMITS and not any(one.changes_table or one.removes for one in commits):
        kept.since = commits
        return True
    with contextlib.suppress(DeltaError):
        kept.read_again()
        evolve(kept.snapshot, table)
        return _came(kept, entries) is not None
    return False


def _came(kept: OpenTable, entries: ReadEntries) -> list[Commit] | None:
    """The commits since its newest version, or more of them than are kept; None when it is another table."""
    assert kept.version is not None  # noqa: S101  # else it is not kept
    first = kept.newest + 1
    own, *came = entries([kept.version, *range(first, first + kept.expected)])
    if own != kept.entry:
        return None
    while came[-1] is not None and len(came) <= MOST_COMMITS:
        unread = first + len(came)
        came += entries(range(unread, unread + max(AT_ONCE, len(came))))
    until = came.index(None) if None in came else len(came)
    return [Commit(entry) for entry in came[:until] if entry]


def _update(snapshot: DeltaTable) -> DeltaTable:
    snapshot.update_incremental()
    return snapshot


def _place(lake_uri: str, table: tables.DeltaTable, storage_options: Mapping[str, str]) -> _Place:
    columns = tuple(column.name for column in table.columns)
    return table_uri(lake_uri, table.name), frozenset(storage_options.items()), columns
