"""Datasets as a library: declare one, and see what is declared."""

from __future__ import annotations

from datetime import datetime

from nilometer.aws.dynamodb import Store
from nilometer.domain.acts.origin import of_actor
from nilometer.domain.lake import dataset
from nilometer.domain.lake.dataset import Dataset, dataset_of
from nilometer.domain.store import keys
from nilometer.domain.store.writes import Table
from nilometer.flows.inbox.races import retrying


def declare(store: Store, said: Dataset, *, actor: str, now: datetime) -> bool:
    """For operators and services. False when it is declared so already.

    `Rejected("conflict")` when it is declared otherwise and this is no safe step from there.
    """

    def attempt() -> bool:
        stored = store.get(Table.RECORDS, keys.dataset(said.name), consistent=True)
        put = dataset.declare(stored, said, origin=of_actor(actor, now), now=now)
        store.commit([put] if put else [])
        return put is not None

    return retrying(attempt)


def declared(store: Store, name: str) -> Dataset | None:
    """As it is at this moment."""
    item = store.get(Table.RECORDS, dataset.dataset_key(name), consistent=True)
    return dataset_of(item) if item else None


def all_datasets(store: Store) -> list[Dataset]:
    """By name. Eventually consistent."""
    return [dataset_of(item) for item in store.query_index(keys.DATASETS)]
