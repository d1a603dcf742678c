"""Datasets: a batch that an internal service announces, into its Delta table, exactly once.

What if the process dies here, or the answer of the commit is lost? The event comes again and the table's log says
that it holds the batch. What if a slow twin lands it first? Delta refuses the second commit. What if its declaration,
or that of a new column, is on its way? The bus keeps no order, so the batch comes again for a while.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from nilometer.aws.dynamodb import Store
from nilometer.aws.landing import Landing
from nilometer.aws.s3 import Objects
from nilometer.domain.events.outcome import Message, Outcome, Result
from nilometer.domain.lake.dataset import Dataset
from nilometer.errors import Rejected, Unavailable
from nilometer.flows.inbox.rejects import refuse
from nilometer.flows.lake.batch_ready import Arrived, arrived
from nilometer.flows.lake.declaring import declared
from nilometer.lake.write.append import Lake
from nilometer.lake.write.batches import Batches
from nilometer.lake.write.dataset_rows import Arrays, read
from nilometer.lake.write.parquet_rows import UNKNOWN_COLUMN

UNKNOWN_DATASET = "unknown_dataset"
PATIENCE = timedelta(minutes=10)
"""How long after its arrival on the bus a batch that is not declared yet is tried again."""

Fields = dict[str, str | int]


@dataclass(frozen=True, slots=True, kw_only=True)
class _World:
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
    """One commit a batch; one result a message, in order. A failure of one does not touch the others.

    `deadline` is on the `monotonic` clock.
    """
    batches = Batches(lake=lake, now=now, deadline=deadline, monotonic=monotonic)
    world = _World(store=store, objects=objects, landing=landing, batches=batches)
    return [_land(message, world) for message in messages]


def _land(message: Message, world: _World) -> Result:
    fields: Fields = {}
    try:
        outcome = _commit(message.body, world, fields)
    except Rejected as error:
        now = world.batches.now
        outcome = refuse("datasets", message, error, store=world.store, objects=world.objects, now=now, fields=fields)
    except Exception as error:  # noqa: BLE001  # the neighbours must pass; the queue delivers this one again
        fields["error"] = str(error) if isinstance(error, Unavailable) else type(error).__name__
        outcome = Outcome.FAILED
    return Result(message_id=message.id, outcome=outcome, fields=fields)


def _commit(body: str, world: _World, fields: Fields) -> Outcome:
    ready = arrived(body)
    fields |= {"event_id": ready.batch.id, "source": ready.batch.source, "dataset": ready.dataset}
    try:
        dataset = _declared(world.store, ready.dataset)
        landed = world.batches.land(dataset, ready.batch, lambda: _rows(dataset, ready, world.landing))
    except Rejected as error:
        if error.reason in {UNKNOWN_DATASET, UNKNOWN_COLUMN} and world.batches.now < ready.at + PATIENCE:
            raise Unavailable(str(error)) from error
        raise
    fields["rows"] = landed.rows
    return Outcome.ACCEPTED if landed.new else Outcome.DUPLICATE


def _declared(store: Store, name: str) -> Dataset:
    found = declared(store, name)
    if found is None:
        raise Rejected(UNKNOWN_DATASET, f"no dataset {name}; declare it: nilometer datasets declare {name} ...")
    return found


def _rows(dataset: Dataset, ready: Arrived, landing: Landing) -> Arrays:
    found = ready.object
    content = landing.get(found.key, etag=found.etag, sha256=found.sha256, size=found.size) if found else ready.rows
    return read(dataset.table, content, ready.format)
