"""Maintenance: checkpoint, clean logs and files, compact closed days, table by table.

What if two run at once? Of two compactions of one day Delta refuses the later one; it reports so and goes on with
the next. What if it dies, or storage fails for one table? The next run finds what is left to do in the log.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime

from nilometer.aws.dynamodb import Store
from nilometer.domain.lake.all_tables import ALL_TABLES
from nilometer.domain.lake.tables import DeltaTable
from nilometer.flows.lake.declaring import in_use
from nilometer.lake.write.append import Lake
from nilometer.lake.write.maintenance import Maintained, Upkeep


def maintain(
    lake: Lake,
    *,
    now: datetime,
    deadline: float,
    tables: Sequence[DeltaTable] = tuple(ALL_TABLES.values()),
    vacuums: bool = True,
    dry_run: bool = False,
    progress: Callable[[str], None] = lambda _: None,
    monotonic: Callable[[], float] = time.monotonic,
) -> Iterator[Maintained]:
    """One report a table, as each is done. `deadline` is on the `monotonic` clock; `vacuums`: also deletes files.

    A table begins no further day when its even share of the time that is left is over, so that one with very many
    files does not take the others' turn again and again.
    """
    for position, table in enumerate(tables):
        out_of_time = _turn(deadline, len(tables) - position, monotonic)
        upkeep = Upkeep(today=now.date(), out_of_time=out_of_time, vacuums=vacuums, dry_run=dry_run, progress=progress)
        yield upkeep.run(table, lake_uri=lake.uri, storage_options=lake.storage_options)


def all_tables(store: Store) -> tuple[DeltaTable, ...]:
    """Ours, then the connector datasets that are declared and not dropped."""
    return (*ALL_TABLES.values(), *(dataset.table for dataset in in_use(store)))


def _turn(deadline: float, tables: int, monotonic: Callable[[], float]) -> Callable[[], bool]:
    """Whether the share of the first of `tables` is over."""
    now = monotonic()
    until = now + (deadline - now) / tables
    return lambda: monotonic() >= until
