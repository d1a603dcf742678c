"""Counters: how a chunk of events changes them, and how their shards become one number.

A counter per meter and billing period, and one per meter and UTC day. `total` and `count` are added to; a
gauge also keeps its `max`, or its `latest` level with the stamp `latest_at`. Numbers have DynamoDB's 38 digits.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Context, Decimal
from typing import Any, NamedTuple

from nilometer.domain import keys
from nilometer.domain.meter import Aggregation
from nilometer.domain.period import Period
from nilometer.domain.times import parse_rfc3339, rfc3339
from nilometer.domain.usage import UsageEvent
from nilometer.domain.writes import Item, Key, Less, Table, Update

EXACT = Context(prec=60)
"""Wider than DynamoDB's 38 digits: no sum of counters is ever rounded."""

ACTIONS = 100  # in one TransactWriteItems


class Name(NamedTuple):
    """One counter of a workspace, without its shard. `start` is RFC 3339, or `DAY#YYYY-MM-DD`."""

    meter: str
    start: str

    @property
    def scope(self) -> str:
        return "day" if self.start.startswith("DAY#") else "period"


@dataclass(slots=True)
class Tally:
    """What some events add up to."""

    total: Decimal = Decimal(0)
    count: int = 0
    max: Decimal | None = None
    latest_at: str = ""
    latest: Decimal = Decimal(0)

    def add(self, event: UsageEvent) -> None:
        self.total = EXACT.add(self.total, event.quantity)
        self.count += 1
        self.max = event.quantity if self.max is None else max(self.max, event.quantity)
        stamp = f"{event.at} {event.source} {event.id}"
        if stamp > self.latest_at:
            self.latest_at, self.latest = stamp, event.quantity


@dataclass(frozen=True, slots=True)
class Group:
    """Events of one workspace and billing period, with what their counters need to know."""

    workspace_id: str
    period: Period
    aggregations: Mapping[str, Aggregation]
    start: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "start", rfc3339(self.period.start))

    def names(self, event: UsageEvent) -> tuple[Name, Name]:
        """The two counters that an event counts in."""
        return Name(event.meter, self.start), Name(event.meter, f"DAY#{event.day}")

    def tallies(self, events: Iterable[UsageEvent]) -> dict[Name, Tally]:
        tallies: dict[Name, Tally] = {}
        for event in events:
            for name in self.names(event):
                tallies.setdefault(name, Tally()).add(event)
        return tallies


def chunks(group: Group, events: Sequence[UsageEvent]) -> list[list[UsageEvent]]:
    """Events that fit one transaction with their counters. Ordered by meter and day, so that a chunk has few.

    A fact has at most 3 KB (every part is bounded), so 100 actions stay far below the 4 MB of a transaction.
    """
    done: list[list[UsageEvent]] = []
    chunk: list[UsageEvent] = []
    names: set[Name] = set()
    for event in sorted(events, key=lambda one: (one.meter, one.day)):
        wanted = names.union(group.names(event))
        if len(chunk) + 1 + len(wanted) > ACTIONS:
            done.append(chunk)
            chunk, wanted = [], set(group.names(event))
        chunk.append(event)
        names = wanted
    return [*done, chunk] if chunk else done


def counter_writes(
    group: Group, tallies: Mapping[Name, Tally], stored: Mapping[Name, Item], *, shard: int, cause: str, now: datetime
) -> list[Update]:
    """One update a counter. `stored` are gauges as last read: a level that is not above them is not written."""
    return [
        _write(group, name, tally, stored.get(name, {}), shard=shard, cause=cause, now=now)
        for name, tally in tallies.items()
    ]


def key_of(group: Group, name: Name, shard: int) -> Key:
    return keys.counter(group.workspace_id, name.meter, name.start, shard)


def is_gauge(group: Group, name: Name) -> bool:
    return group.aggregations[name.meter] in {Aggregation.MAX, Aggregation.LATEST}


def _write(group: Group, name: Name, tally: Tally, stored: Item, *, shard: int, cause: str, now: datetime) -> Update:
    level, guard = _level(group.aggregations[name.meter], tally, stored)
    start, end = _bounds(group, name)
    return Update(
        table=Table.RECORDS,
        key=key_of(group, name, shard),
        add={"total": tally.total, "count": tally.count, "version": 1},
        set={
            "kind": "counter",
            "workspace_id": group.workspace_id,
            "meter": name.meter,
            "scope": name.scope,
            "period_start": start,
            "period_end": end,
            "shard": shard,
            "updated_at": rfc3339(now),
            "cause": cause,
            "actor": None,
            **level,
        },
        expected=guard,
    )


def _level(aggregation: Aggregation, tally: Tally, stored: Item) -> tuple[dict[str, Any], Less | None]:
    """What a gauge is set to, and the condition under which that is still right."""
    if aggregation is Aggregation.MAX and tally.max is not None and tally.max > stored.get("max", -1):
        return {"max": tally.max}, Less("max", tally.max)
    if aggregation is Aggregation.LATEST and tally.latest_at > stored.get("latest_at", ""):
        return {"latest": tally.latest, "latest_at": tally.latest_at}, Less("latest_at", tally.latest_at)
    return {}, None


def _bounds(group: Group, name: Name) -> tuple[str, str | None]:
    """A provisional period has no end yet."""
    if name.scope == "period":
        return group.start, rfc3339(group.period.end) if group.period.end else None
    start = parse_rfc3339(f"{name.start.removeprefix('DAY#')}T00:00:00Z")
    return rfc3339(start), rfc3339(start + timedelta(days=1))


def used(aggregation: Aggregation, shards: Iterable[Item]) -> Decimal:
    """One number from all shards of one counter."""
    items = list(shards)
    match aggregation:
        case Aggregation.COUNT:
            return Decimal(sum(item["count"] for item in items))
        case Aggregation.SUM:
            return exact_sum(Decimal(item["total"]) for item in items)
        case Aggregation.MAX:
            return max((Decimal(item["max"]) for item in items if "max" in item), default=Decimal(0))
        case Aggregation.LATEST:
            newest = max(items, key=lambda item: str(item.get("latest_at", "")), default={})
            return Decimal(newest.get("latest", 0))
        case Aggregation.UNIQUE:
            return Decimal(sum(item.get("unique", 0) for item in items))


def exact_sum(numbers: Iterable[Decimal]) -> Decimal:
    total = Decimal(0)
    for number in numbers:
        total = EXACT.add(total, number)
    return total
