"""Datasets: a batch that an internal service announces, into its Delta table, exactly once.

What if the process dies here, or the answer of the commit is lost? The event comes again and the table's log says
that it holds the batch. What if another worker lands it first? Delta refuses the second commit. What if its
declaration, or that of a new column, has not arrived? The bus keeps no order, so the batch is delivered again for a
while.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from nilometer.aws.dynamodb import Store
from nilometer.aws.landing import Landing
from nilometer.aws.s3 import Objects
from nilometer.domain.events.outcome import Message, Outcome, Result
from nilometer.domain.lake.dataset import Dataset, check_feeds
from nilometer.errors import NotKnownYet, Rejected
from nilometer.flows.inbox.parcel import Parcel
from nilometer.flows.inbox.settle import inbox, settle
from nilometer.flows.lake.batch_ready import ArrivedBatch, arrived
from nilometer.flows.lake.declaring import declared
from nilometer.lake.write.append import Lake
from nilometer.lake.write.batches import Batches, Landed
from nilometer.lake.write.dataset_rows import Arrays, read
from nilometer.lake.write.parquet_rows import UNKNOWN_COLUMN

UNKNOWN_DATASET = "unknown_dataset"


@dataclass(frozen=True, slots=True, kw_only=True)
class _DatasetStores:
    """What a batch is read from and goes to."""

    store: Store
    objects: Objects
    landing: Landing
    batches: Batches


def land(
    messages: Sequence[Message],
    *,
    store: Store,
    objects: Objects,
    landing: Landing,
    lake: Lake,
    now: datetime,
    deadline: float,
    monotonic: Callable[[], float] = time.monotonic,
) -> list[Result]:
    """One commit a batch; one result a message, in order. Whatever one holds, the others do not notice.

    `deadline` is on the `monotonic` clock.
    """
    batches = Batches(lake=lake, now=now, deadline=deadline, monotonic=monotonic)
    world = _DatasetStores(store=store, objects=objects, landing=landing, batches=batches)
    into = inbox("datasets", store=store, objects=objects, now=now)
    return settle(messages, into, open=lambda message: arrived(message.body), decide=partial(_decide, world))


def _decide(world: _DatasetStores, parcels: Sequence[Parcel[ArrivedBatch]]) -> None:
    for parcel in parcels:
        ready = parcel.content
        parcel.fields |= {"event_id": ready.batch.id, "source": ready.batch.source, "dataset": ready.dataset}
        landed = _commit(ready, world)
        parcel.settle(Outcome.ACCEPTED if landed.new else Outcome.DUPLICATE, rows=landed.rows)


def _commit(ready: ArrivedBatch, world: _DatasetStores) -> Landed:
    try:
        dataset = _declared(world.store, ready.dataset)
        check_feeds(dataset, ready.batch.source)
        return world.batches.land(dataset, ready.batch, lambda: _rows(dataset, ready, world.landing))
    except Rejected as error:
        if error.reason in {UNKNOWN_DATASET, UNKNOWN_COLUMN}:
            raise NotKnownYet(error.reason, str(error)) from error
        raise


def _declared(store: Store, name: str) -> Dataset:
    found = declared(store, name)
    if found is None:
        raise Rejected(UNKNOWN_DATASET, f"no dataset {name}; declare it: nilometer datasets declare {name} ...")
    return found


def _rows(dataset: Dataset, ready: ArrivedBatch, landing: Landing) -> Arrays:
    found = ready.object
    content = landing.get(found.key, etag=found.etag, sha256=found.sha256, size=found.size) if found else ready.rows
    return read(dataset.table, content, ready.format)
