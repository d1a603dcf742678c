"""Tables that a process keeps open between two batches: then delta-rs reads what came since, and not each entry of the
log since its last checkpoint, twice.

A table may be another one meanwhile: deleted and made again, or put back from a copy. So it is kept with the last entry
that this process wrote, and used again only while that entry is in the log: nobody else writes the same one, and what
comes before an entry never changes. Where the entry is newer than the open table, its files are found in what is read;
else it is asked for. Who uses a table has it for himself: it is taken out, and put back when nothing failed.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass

from deltalake import DeltaTable
from deltalake.exceptions import DeltaError

from nilometer.domain.lake import tables
from nilometer.lake.tables.entries import Commit, ReadEntries
from nilometer.lake.tables.tables import evolve, open_or_create, paths, table_uri

MOST = 50
"""Tables that are kept. A process has the few of its lake."""

_Place = tuple[str, frozenset[tuple[str, str]]]  # the table's URI, the options of its store
_kept: dict[_Place, OpenTable] = {}


@dataclass(slots=True)
class OpenTable:
    """As it was when it was opened. `version` and `entry` are the last that this process added, None before it has."""

    snapshot: DeltaTable
    version: int | None = None
    entry: bytes = b""


def open_again(
    lake_uri: str,
    table: tables.DeltaTable,
    storage_options: Mapping[str, str],
    entries: ReadEntries,
) -> OpenTable:
    """The newest version of the table, with every declared column, as `open_or_create`. `keep` gives it back."""
    kept = _kept.pop(_place(lake_uri, table, storage_options), None)
    if kept is not None and _is_current(kept, entries):
        return OpenTable(evolve(kept.snapshot, table), kept.version, kept.entry)
    return OpenTable(open_or_create(lake_uri, table, dict(storage_options)))


def keep(lake_uri: str, table: tables.DeltaTable, storage_options: Mapping[str, str], opened: OpenTable) -> None:
    """For the next batch, if it can be known again."""
    if opened.version is not None:
        if len(_kept) >= MOST:
            _kept.clear()
        _kept[_place(lake_uri, table, storage_options)] = opened


def _is_current(kept: OpenTable, entries: ReadEntries) -> bool:
    """Whether it is still the same table; then it has its newest version."""
    assert kept.version is not None  # noqa: S101  # else it is not kept
    is_older = kept.snapshot.version() < kept.version
    with contextlib.suppress(DeltaError):  # the log is an older one
        _update(kept.snapshot)
        return Commit(kept.entry).paths <= paths(kept.snapshot) if is_older else entries([kept.version]) == [kept.entry]
    return False


def _update(snapshot: DeltaTable) -> DeltaTable:
    snapshot.update_incremental()
    return snapshot


def _place(lake_uri: str, table: tables.DeltaTable, storage_options: Mapping[str, str]) -> _Place:
    return table_uri(lake_uri, table.name), frozenset(storage_options.items())
