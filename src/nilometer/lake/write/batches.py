"""A batch into its dataset exactly once: the log itself says which batches it holds.

    open snapshot s ─▶ does s hold the transaction of the batch? ──yes──▶ done, no commit
         ▲                                   │ no
         │ anything raised: unknown          ▼
         └── full-jitter back-off ◀── commit rows and Transaction("batch:<source>#<id>") together ──▶ done

Of two commits with the same transaction id since one snapshot Delta refuses the later, so a batch cannot land between
our reading and our commit. A lost answer is found by the next attempt. The number of the transaction is a fingerprint
of the content, so that an id that was used for another content is seen.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import cache

from arro3.core import Array, DataType, Table
from deltalake import CommitProperties, DeltaTable, PostCommitHookProperties, Transaction, write_deltalake

from nilometer.domain.lake.dataset import BATCH_ID, BATCH_SOURCE, RECORDED_AT, Dataset, Mode
from nilometer.domain.store.keys import part
from nilometer.errors import Rejected
from nilometer.lake.tables.columns import instants
from nilometer.lake.tables.schema import arrow_schema
from nilometer.lake.tables.tables import conform, open_or_create
from nilometer.lake.write.append import Clock, Lake, until_known, writer_properties
from nilometer.lake.write.dataset_rows import Arrays
from nilometer.lake.write.merge import merge, newest

_COMMIT_RETRIES = 100  # against commits of other batches


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetBatch:
    """Its identity, and 63 bits that differ for another content."""

    source: str
    id: str
    fingerprint: int

    @property
    def transaction(self) -> Transaction:
        """What the log says of the batch."""
        return Transaction(self._app_id, self.fingerprint)

    def is_in(self, snapshot: DeltaTable) -> bool:
        """`Rejected("id_reuse")` when the id came before with another content."""
        known = snapshot.transaction_version(self._app_id)
        if known not in {None, self.fingerprint}:
            raise Rejected(
                "id_reuse", "this source and id came before with another content; give each batch its own id"
            )
        return known is not None

    @property
    def _app_id(self) -> str:
        return f"batch:{part(self.source)}#{part(self.id)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Landed:
    """What became of a batch: it is in the table now, `new` by this call."""

    new: bool
    rows: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Batches:
    """The way into the datasets of one lake."""

    lake: Lake
    now: datetime
    deadline: float
    monotonic: Clock = time.monotonic

    def land(self, dataset: Dataset, batch: DatasetBatch, read: Callable[[], Arrays]) -> Landed:
        """`read` gives the rows without the stamped columns; it is asked once, and not for a batch that is there.

        Any number of writers, processes and repetitions; atomic. A batch without rows leaves no trace.
        `Unavailable` after the deadline: it may have landed, and the same call finds it.
        """
        ready = cache(lambda: _stamped(dataset, read(), batch, self.now))
        landed, _ = until_known(
            lambda: self._attempt(dataset, batch, ready),
            what=dataset.table.name,
            deadline=self.deadline,
            monotonic=self.monotonic,
        )
        return landed

    def _attempt(self, dataset: Dataset, batch: DatasetBatch, ready: Callable[[], Table | None]) -> Landed:
        snapshot = open_or_create(self.lake.uri, dataset.table, self.lake.storage_options)
        if batch.is_in(snapshot):
            return Landed(new=False)
        rows = ready()
        if rows is None:
            return Landed(new=True)
        _commit(snapshot, dataset, batch, rows)
        return Landed(new=True, rows=rows.num_rows)


def _commit(snapshot: DeltaTable, dataset: Dataset, batch: DatasetBatch, rows: Table) -> None:
    """Rows and transaction together."""
    conforming = conform(rows, snapshot)
    if dataset.mode is Mode.MERGE:
        return merge(snapshot, dataset, conforming, transaction=batch.transaction)
    return write_deltalake(
        snapshot,
        conforming,
        mode="append",
        writer_properties=writer_properties(dataset.table),
        commit_properties=CommitProperties(app_transactions=[batch.transaction], max_commit_retries=_COMMIT_RETRIES),
        post_commithook_properties=PostCommitHookProperties(cleanup_expired_logs=False),
    )


def _stamped(dataset: Dataset, rows: Arrays, batch: DatasetBatch, now: datetime) -> Table | None:
    rows = newest(dataset, rows) if dataset.mode is Mode.MERGE else rows
    count = len(next(iter(rows.values())))
    if not count:
        return None
    stamps = {
        BATCH_SOURCE: _same(batch.source, count),
        BATCH_ID: _same(batch.id, count),
        RECORDED_AT: instants(now, count),
    }
    table = dataset.table
    arrays = rows | stamps
    return Table.from_arrays([arrays[column.name] for column in table.columns], schema=arrow_schema(table))


def _same(text: str, count: int) -> Array:
    return Array([text] * count, type=DataType.string())
