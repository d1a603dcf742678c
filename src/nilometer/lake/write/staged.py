"""Data files that belong to no version yet, and the commit that makes them rows.

Writing them is most of what an append costs, and does not depend on what else is committed meanwhile: so it is done
once, and only the commit is repeated when another one came first. Files that no commit ever named are nobody's rows;
maintenance removes them. delta-rs writes into a table of the same schema in a folder of this machine: files,
statistics and the entry of the log are its own, and are put into the table as they are.

The entry says which keys it adds, as a fingerprint of each. So who came second learns from the first one's entry alone,
in one request, that nothing of his is in it:

    create version v ──there is none──▶ done
         ▲   │ taken
     v+1 │   ▼
         └── read version v: none of our days, or none of our keys; another schema, or perhaps one of them: `Overtaken`

A version is created where nothing is, which the store decides, and only by who has read all versions before it.
"""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from arro3.core import Table
from deltalake import CommitProperties, DeltaTable, Transaction, WriterProperties, write_deltalake
from deltalake.exceptions import DeltaError

from nilometer.errors import Unavailable
from nilometer.lake.tables.entries import AT_ONCE, KEYS, Commit, entry_uri, packed
from nilometer.lake.tables.files import TableFiles
from nilometer.lake.tables.kept import OpenTable
from nilometer.lake.tables.tables import NO_CLEANUP
from nilometer.lake.write import remembered

MOST_KEYS = 20_000  # of an entry, each 6.7 bytes of it
_ROUNDS = 200  # against commits that came first
_PAUSE_SECONDS = 0.05  # when a version is neither free nor there yet
_CHECKPOINT_INTERVAL = "delta.checkpointInterval"


class Overtaken(Exception):
    """Another commit changed the table, or may hold what is ours: begin again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Staged:
    """Files that lie in the table, and the entry that would make them its rows."""

    table_uri: str
    entry: bytes
    added: Commit


def stage(
    snapshot: DeltaTable,
    rows: Table,
    prints: Sequence[int],
    transactions: Sequence[Transaction],
    properties: WriterProperties,
    *,
    table_uri: str,
    files: TableFiles,
) -> Staged:
    """The rows in files of the table, by names that nobody else uses; `prints` are the fingerprints of their keys.

    Raises what delta-rs or `files` do.
    """
    said = {KEYS: packed(prints)} if len(prints) <= MOST_KEYS else None
    with tempfile.TemporaryDirectory() as folder:
        write_deltalake(
            _twin(snapshot, folder),
            rows,
            mode="append",
            writer_properties=properties,
            commit_properties=CommitProperties(app_transactions=list(transactions), custom_metadata=said),
            post_commithook_properties=NO_CLEANUP,
        )
        entry = Path(entry_uri(folder, 1)).read_bytes()
        staged = Staged(table_uri=table_uri, entry=entry, added=Commit(entry))
        for path in sorted(staged.added.paths):
            files.write(f"{table_uri}/{path}", (Path(folder) / path).read_bytes())
    return staged


def _twin(snapshot: DeltaTable, folder: str) -> DeltaTable:
    metadata = snapshot.metadata()
    return DeltaTable.create(
        folder,
        snapshot.schema(),
        partition_by=metadata.partition_columns,
        configuration=dict(metadata.configuration),
    )


def commit(opened: OpenTable, staged: Staged, files: TableFiles, is_free_of_ours: Callable[[], bool]) -> int:
    """Makes the files rows of the table; the version.

    `is_free_of_ours` is asked when a commit since carries one of our transactions and may hold one of our keys: whether
    all that came does not. `Overtaken` when it may, or when the table itself was changed. Whatever else is raised, the
    commit may have landed.
    """
    version = opened.newest + 1
    for _ in range(_ROUNDS):
        if files.create(entry_uri(staged.table_uri, version), staged.entry):
            _keep(opened, version, staged.added)
            _checkpoint(opened, version)
            return version
        came = list(_came(staged.table_uri, version, files))
        for commit in came:
            _keep(opened, version, commit)
            if not commit.paths.isdisjoint(staged.added.paths):
                return version  # it is ours: its answer was lost, and the client tried again
            _check(commit, staged.added, is_free_of_ours)
            version += 1
        if not came:
            time.sleep(_PAUSE_SECONDS)
    raise Unavailable(f"{staged.table_uri}: others came first {_ROUNDS} times")


def _keep(opened: OpenTable, version: int, commit: Commit) -> None:
    opened.add(version, commit)
    remembered.note(opened.snapshot.table_uri, version, commit)


def _came(table_uri: str, version: int, files: TableFiles) -> Iterator[Commit]:
    """From this version on, up to the first that is not there."""
    entries = files.read_all([entry_uri(table_uri, number) for number in range(version, version + AT_ONCE)])
    for entry in entries:
        if entry is None:
            return
        yield Commit(entry)


def _check(came: Commit, ours: Commit, is_free_of_ours: Callable[[], bool]) -> None:
    if came.changes_table:
        raise Overtaken("the table was changed")
    if came.may_add(ours.app_ids, ours.keys) and not is_free_of_ours():
        raise Overtaken("others added what is ours")


def _checkpoint(opened: OpenTable, version: int) -> None:
    """As delta-rs does after its own commits. The rows are in: what fails here is made up by the next, or by upkeep."""
    interval = int(opened.snapshot.metadata().configuration.get(_CHECKPOINT_INTERVAL) or 100)
    if (version + 1) % interval == 0:
        with contextlib.suppress(DeltaError, OSError):
            opened.read_again()
            opened.snapshot.create_checkpoint()
