"""The schedule → facts into the periods that moved, the index of lists, the maintenance flow → one line a workspace
and a table.
"""

from __future__ import annotations

import os
import time
from dataclasses import asdict
from datetime import UTC, datetime
from functools import partial
from typing import Any

from nilometer.aws.clients import client
from nilometer.aws.dynamodb import Store
from nilometer.errors import Rejected, Unavailable
from nilometer.flows.lake import maintenance
from nilometer.flows.people.listing import complete_lists
from nilometer.flows.usage import rebucket
from nilometer.lake.read.facts import usage_identities
from nilometer.lake.tables.storage import storage_options
from nilometer.lake.write.append import Lake
from nilometer.lambdas import count, handling, logger, variables

_RESERVE_SECONDS = 120.0  # one day's compaction, the checkpoint and the clean-up
VACUUM_HOUR = 3  # of the day in UTC: listing every file of every table each hour was most of what upkeep cost
_MOVING_SHARE = 0.5  # of the time, at most: the tables get the rest
_LISTING_SECONDS = 60.0  # at most, of a run that has time


@handling
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Lambda's entry: the upkeep of the lake. `{"vacuums": true}` deletes files at another hour than `VACUUM_HOUR`."""
    records, events, uri = variables("RECORDS_TABLE", "EVENTS_TABLE", "LAKE_URI")
    lake = Lake(uri=uri, storage_options=storage_options(os.environ))
    seconds = context.get_remaining_time_in_millis() / 1000 - _RESERVE_SECONDS
    begun = time.monotonic()
    store = Store(client("dynamodb"), records=records, events=events)
    moved = _move(store, lake, until=begun + seconds * _MOVING_SHARE)
    _list(store, until=min(time.monotonic() + _LISTING_SECONDS, begun + seconds * _MOVING_SHARE))
    return {"workspaces": moved, "tables": _maintain(store, lake, begun + seconds, event.get("vacuums"))}


def _move(store: Store, lake: Lake, *, until: float) -> list[dict[str, Any]]:
    found = []
    facts = partial(usage_identities, lake)
    for one in rebucket.run(store, facts, now=datetime.now(UTC), out_of_time=lambda: time.monotonic() >= until):
        found.append(asdict(one))
        logger.info("maintenance.rebucketed", extra=found[-1])
    return found


def _list(store: Store, *, until: float) -> None:
    """What the index of lists lacks. When that fails, lists read the table, and the lake gets its upkeep still."""
    try:
        done = complete_lists(store, now=datetime.now(UTC), out_of_time=lambda: time.monotonic() >= until)
    except (Rejected, Unavailable) as error:
        logger.warning("maintenance.lists_failed", extra={"reason": str(error)})
        return
    if done:
        logger.info("maintenance.listed", extra={"records": done.records, "whole": done.whole})


def _maintain(store: Store, lake: Lake, deadline: float, asked: bool | None) -> list[dict[str, Any]]:
    reports, now = [], datetime.now(UTC)
    tables, vacuums = maintenance.all_tables(store), now.hour == VACUUM_HOUR if asked is None else asked
    for report in maintenance.maintain(lake, now=now, deadline=deadline, tables=tables, vacuums=vacuums):
        log = logger.warning if report.stopped else logger.info
        log("maintenance.table", extra=asdict(report))
        reports.append(report)
    count("maintenance", ("stopped" if report.stopped else "maintained" for report in reports))
    return [asdict(report) for report in reports]
