"""Replay: events are sent again. Nothing counts twice: no flow gets an event so old that its copy would pass as new.

What if the process dies in the middle? What was published is dropped when it is published again.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from typing import Any

from nilometer.aws.dynamodb import Store
from nilometer.aws.eventbridge import Bus
from nilometer.domain.store import keys
from nilometer.domain.store.writes import Table
from nilometer.domain.usage.event import OLDEST, SNAPSHOT
from nilometer.flows.operations.batch import KEPT
from nilometer.flows.publish.usage import Event, publish, recorded, snapshot, voided

TOGETHER = 1_000  # rows that are looked up and published together
_MARGIN = timedelta(hours=1)  # for what is on its way
_DAY = timedelta(days=1)  # TTL and clocks

REACH: Mapping[str, tuple[timedelta | None, str]] = {
    # Registers merge an old event into what they know, with or without its fact.
    "billing": (None, ""),
    "usage": (
        OLDEST - _MARGIN,
        f"older usage is refused as too_old, so that no copy of a forgotten fact counts ({OLDEST.days} days)",
    ),
    "operations": (
        KEPT - _DAY,
        f"the facts that tell copies apart live {KEPT.days} days; older ones would be done again",
    ),
}
"""How far back each flow may be given events again, and why no further."""


@dataclass(slots=True, kw_only=True)
class MissingUsage:
    """What a replay of usage found: rows of the lake, those without a fact, and those that are too old to count."""

    rows: int = 0
    too_old: int = 0
    missing: int = 0
    published: int = 0


def reachable(flow: str, since: datetime, *, now: datetime) -> tuple[datetime, str]:
    """The time from which on a flow may be given events again, and why it is later than asked, or nothing."""
    reach, why = REACH[flow]
    earliest = now - reach if reach else since
    return (since, "") if since >= earliest else (earliest, why)


def missing_usage(
    rows: Iterable[Mapping[str, Any]], *, store: Store, bus: Bus | None, now: datetime
) -> Iterator[MissingUsage]:
    """Publishes the usage of the lake's `rows` that have no fact: the tables were restored to an earlier time.

    Without `bus` it only counts. Yields the same count after each page. A reservation that an event settled is not
    in the lake; it ends by itself.
    """
    found, remaining = MissingUsage(), iter(rows)
    while page := list(islice(remaining, TOGETHER)):
        found.rows += len(page)
        young = [row for row in page if row["time"] >= now - OLDEST + _MARGIN]
        found.too_old += len(page) - len(young)
        events = _unknown(young, store)
        found.missing += len(events)
        if bus and events:
            found.published += publish(bus, events)
        yield found


def _unknown(rows: Iterable[Mapping[str, Any]], store: Store) -> list[Event]:
    by_key = {keys.usage_event(row["source"], row["event_id"]): row for row in rows}
    stored = store.batch_get(Table.EVENTS, by_key, consistent=True, attributes=("kind",))
    return [event_again(row) for key, row in by_key.items() if key not in stored]


def event_again(row: Mapping[str, Any]) -> Event:
    """With the same content as it had, so that a copy of the original is a duplicate."""
    identity = {"source": row["source"], "workspace_id": row["workspace_id"], "time": row["time"]}
    if row["voids_id"]:
        return voided(row["event_id"], **identity, voids_id=row["voids_id"], voids_source=row["voids_source"])
    make = snapshot if row["type"] == SNAPSHOT else recorded
    return make(
        row["event_id"],
        **identity,
        meter=row["meter"],
        quantity=row["quantity"].normalize(),
        unit=row["unit"],
        dimensions=json.loads(row["dimensions"] or "{}"),
    )
