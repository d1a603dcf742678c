"""A batch into a dataset of one row a key: of the rows of a key the highest stays, in whatever order batches come.

"Highest" is by `order_by`, then by the batch's source and id, and within a batch by place. That is a total order, so
merging is commutative and idempotent: a late batch undoes nothing, and a batch that comes again changes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

from arro3.core import Array, DataType, Table
from deltalake import CommitProperties, DeltaTable, PostCommitHookProperties, Transaction

from nilometer.domain.lake.dataset import BATCH_ID, BATCH_SOURCE, Dataset
from nilometer.lake.write.append import writer_properties
from nilometer.lake.write.dataset_rows import Arrays

_MERGE = "merge"  # transaction id of every merge: of two from one snapshot Delta refuses the later


def newest(dataset: Dataset, rows: Arrays) -> Arrays:
    """One row a key."""
    assert dataset.order_by  # noqa: S101  # a dataset that merges is declared with one
    order = rows[dataset.order_by].to_pylist()
    highest: dict[tuple[object, ...], int] = {}
    for position, key in enumerate(zip(*(rows[name].to_pylist() for name in dataset.key), strict=True)):
        known = highest.get(key)
        if known is None or order[position] >= order[known]:
            highest[key] = position
    if len(highest) == len(order):
        return rows
    taken = Array(sorted(highest.values()), type=DataType.uint64())
    return {name: values.take(taken) for name, values in rows.items()}


def merge(snapshot: DeltaTable, dataset: Dataset, rows: Table, *, transaction: Transaction) -> None:
    """Keys that are new are inserted, rows that are higher replace. Nothing to change: no commit, and no trace."""
    number = snapshot.version() + 1
    (
        snapshot.merge(
            rows,
            predicate=" AND ".join(f'target."{name}" = source."{name}"' for name in dataset.key),
            source_alias="source",
            target_alias="target",
            writer_properties=writer_properties(dataset.table),
            commit_properties=CommitProperties(app_transactions=[transaction, Transaction(_MERGE, number)]),
            post_commithook_properties=PostCommitHookProperties(cleanup_expired_logs=False),
        )
        .when_matched_update_all(predicate=_higher([str(dataset.order_by), BATCH_SOURCE, BATCH_ID]))
        .when_not_matched_insert_all()
        .execute()
    )


def _higher(names: Sequence[str]) -> str:
    """Whether the source comes after the target, in lexicographic order."""
    first, *others = names
    higher = f'source."{first}" > target."{first}"'
    return f'{higher} OR (source."{first}" = target."{first}" AND ({_higher(others)}))' if others else higher
