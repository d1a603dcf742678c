"""What is declared as a dataset."""

from __future__ import annotations

from nilometer.aws.dynamodb import Store
from nilometer.domain.lake import dataset
from nilometer.domain.lake.dataset import Dataset, DatasetStatus, dataset_of
from nilometer.domain.store import keys
from nilometer.domain.store.writes import Table


def declared(store: Store, name: str) -> Dataset | None:
    """As it is at this moment."""
    item = store.get(Table.RECORDS, dataset.dataset_key(name), consistent=True)
    return dataset_of(item) if item else None


def all_datasets(store: Store) -> list[Dataset]:
    """By name, the dropped ones too. Eventually consistent."""
    return [dataset_of(item) for item in store.query_index(keys.DATASETS)]


def in_use(store: Store) -> list[Dataset]:
    """Those that take batches: all but the dropped ones."""
    return [one for one in all_datasets(store) if one.status is not DatasetStatus.DROPPED]
