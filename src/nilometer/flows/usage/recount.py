"""Recount: a workspace's counters set to what the lake says. For an operator, after a dry run.

What if usage is counted meanwhile? A counter that changed in the last minutes is left alone, and one that changes
between reading and writing cancels its correction. Run it again.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from nilometer.aws.dynamodb import Store
from nilometer.domain.store import keys
from nilometer.domain.store.writes import Table
from nilometer.domain.usage.counter import CounterName
from nilometer.domain.usage.recount import Correction, LakeSum, corrections, uncorrectable, unsettled
from nilometer.errors import Cancelled
from nilometer.flows.usage.known import Known


@dataclass(frozen=True, slots=True, kw_only=True)
class Recounted:
    """The corrections that are needed or were made, the counters that changed too recently to be compared, and those
    that stay `stale` because the lake cannot correct them."""

    corrections: list[Correction]
    unsettled: list[CounterName]
    uncorrectable: list[CounterName]


def recount(
    store: Store, workspace_id: str, rows: Iterable[tuple[Any, ...]], *, now: datetime, dry_run: bool = True
) -> Recounted:
    """The corrections that are needed; with `dry_run=False` those that were made.

    `rows` are (meter, start, total, count, max, latest, latest_at), as `lake.ledger.Ledger.recount` gives them.
    """
    sums = [_lake_sum(row) for row in rows]
    partition = keys.workspace(workspace_id).pk
    counters = list(store.query(Table.RECORDS, partition, prefix="USAGE#", consistent=True))
    meters = Known(store).meters({item["meter"] for item in counters})
    found = corrections(sums, counters, meters, now=now)
    made = found if dry_run else [one for one in found if _made(store, one)]
    return Recounted(
        corrections=made,
        unsettled=unsettled(counters, now=now),
        uncorrectable=uncorrectable(counters, meters, now=now),
    )


def _made(store: Store, correction: Correction) -> bool:
    try:
        store.commit(correction.writes)
    except Cancelled:
        return False
    return True


def _lake_sum(row: tuple[Any, ...]) -> LakeSum:
    meter, start, total, count, largest, latest, latest_at = row
    return LakeSum(
        name=CounterName(meter, start),
        total=Decimal(total),
        count=int(count),
        max=largest,
        latest=latest,
        latest_at=latest_at,
    )
