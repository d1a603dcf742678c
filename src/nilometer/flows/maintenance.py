"""Maintenance: compact closed days, checkpoint, clean logs and files, table by table.

What if two run at once? Of two compactions of one day Delta refuses the later one; it reports so and goes on with
the next table. What if it dies? The next run finds what is left to do in the log.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import datetime

from nilometer.domain.tables import TABLES
from nilometer.lake.append import Lake
from nilometer.lake.maintenance import Maintained, Upkeep


def maintain(
    lake: Lake,
    *,
    now: datetime,
    deadline: float,
    tables: tuple[str, ...] = tuple(TABLES),
    dry_run: bool = False,
    monotonic: Callable[[], float] = time.monotonic,
) -> Iterator[Maintained]:
    """One report a table, as each is done. After `deadline` (on the `monotonic` clock) no further day is begun."""
    upkeep = Upkeep(today=now.date(), out_of_time=lambda: monotonic() >= deadline, dry_run=dry_run)
    for name in tables:
        yield upkeep.run(TABLES[name], lake_uri=lake.uri, storage_options=lake.storage_options)
