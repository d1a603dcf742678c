"""Counters: how a chunk of events changes them, and how their shards become one number.

A counter per meter and billing period, and one per meter and UTC day. `total` and `count` are added to; a gauge also
keeps its `max`, or its `latest` level with the stamp `latest_at`; a unique meter adds to `unique` for every value
that it sees for the first time. Numbers have DynamoDB's 38 digits.

What is counted in a closed period is added to `late_total` and `late_count` too: a total without them is the total
as it was when the period was closed, without anybody having to be there at that moment.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Context, Decimal
from typing import Any, NamedTuple

from nilometer.domain.store import keys
from nilometer.domain.store.times import epoch, parse_rfc3339, rfc3339
from nilometer.domain.store.writes import Absent, Item, Key, Less, Put, Table, Update, Write, new_item
from nilometer.domain.usage.event import KEPT, UsageEvent
from nilometer.domain.usage.meter import GAUGES, Aggregation, Meter
from nilometer.domain.usage.period import Period, is_closed

EXACT = Context(prec=60)
"""Wider than DynamoDB's 38 digits: no sum of counters is ever rounded."""

ACTIONS = 100  # in one TransactWriteItems
UNIQUE_CAP = 10_000  # values of one counter's shard; more are not distinguished
EXTENDED = timedelta(days=731)
"""By how much the end of a period may move out: a trial is extended by two years at most.
Source: https://docs.stripe.com/api/subscriptions/update#update_subscription-trial_end."""


class CounterName(NamedTuple):
    """One counter of a workspace, without its shard. `start` is RFC 3339, or `DAY#YYYY-MM-DD`."""

    meter: str
    start: str

    @property
    def scope(self) -> str:
        """`day` for a counter of one UTC day, `period` for one of a billing period."""
        return "day" if self.start.startswith("DAY#") else "period"


@dataclass(slots=True)
class CounterDelta:
    """What some events add up to. `values` are those of a unique meter, hashed."""

    total: Decimal = Decimal(0)
    count: int = 0
    max: Decimal | None = None
    latest_at: str = ""
    latest: Decimal = Decimal(0)
    values: set[str] = field(default_factory=set)

    def add(self, event: UsageEvent, value: str | None = None) -> None:
        """In place. Exact; `latest` follows time, source and id, so the order of the calls does not matter."""
        self.total = EXACT.add(self.total, event.quantity)
        self.count += 1
        self.max = event.quantity if self.max is None else max(self.max, event.quantity)
        stamp = f"{event.at} {event.source} {event.id}"
        if stamp > self.latest_at:
            self.latest_at, self.latest = stamp, event.quantity
        if value is not None:
            self.values.add(value)


@dataclass(frozen=True, slots=True)
class UsageGroup:
    """Events of one workspace and billing period, with the meters that they name."""

    workspace_id: str
    period: Period
    meters: Mapping[str, Meter]
    start: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "start", rfc3339(self.period.start))

    def names(self, event: UsageEvent) -> tuple[CounterName, CounterName]:
        """The two counters that an event counts in."""
        return CounterName(event.meter, self.start), CounterName(event.meter, f"DAY#{event.day}")

    def value(self, event: UsageEvent) -> str | None:
        """What a unique meter counts: the hash of its first dimension."""
        meter = self.meters[event.meter]
        if meter.aggregation is not Aggregation.UNIQUE:
            return None
        return hashlib.sha256(event.dimensions[meter.dimensions[0]].encode()).hexdigest()

    def items(self, event: UsageEvent) -> set[tuple[CounterName, str | None]]:
        """What a transaction needs for an event besides its fact: two counters, and two values of a unique meter."""
        names, value = self.names(event), self.value(event)
        counters: set[tuple[CounterName, str | None]] = {(name, None) for name in names}
        return counters if value is None else counters | {(name, value) for name in names}

    def deltas(self, events: Iterable[UsageEvent]) -> dict[CounterName, CounterDelta]:
        """What the events add up to, by counter."""
        deltas: dict[CounterName, CounterDelta] = {}
        for event in events:
            value = self.value(event)
            for name in self.names(event):
                delta = deltas.get(name)
                if delta is None:
                    delta = deltas[name] = CounterDelta()
                delta.add(event, value)
        return deltas

    def reads_before(self, name: CounterName) -> bool:
        """Whether its counter is read before it is written."""
        aggregation = self.meters[name.meter].aggregation
        return aggregation in GAUGES or aggregation is Aggregation.UNIQUE

    def counter(self, name: CounterName, shard: int) -> Key:
        """One shard of a counter of the group's workspace, in the records table."""
        return keys.counter(self.workspace_id, name.meter, name.start, shard)

    def value_key(self, name: CounterName, value: str) -> Key:
        """In the events table: that the counter has counted this hashed value of a unique meter."""
        return keys.unique_value(self.workspace_id, name.meter, name.start, value)


@dataclass(frozen=True, slots=True)
class StoredBefore:
    """What was read before a write: counters by name, and the values that are stored already."""

    counters: Mapping[CounterName, Item]
    values: Set[Key]


NOTHING_STORED = StoredBefore({}, frozenset())


def chunks(group: UsageGroup, events: Sequence[UsageEvent], *, each: int = 1) -> list[list[UsageEvent]]:
    """Events that fit one transaction with their counters, with `each` writes an event. Ordered by meter and day, so
    that a chunk has few.

    A fact has at most 3 KB (every part is bounded), so 100 actions stay far below the 4 MB of a transaction.
    """
    done: list[list[UsageEvent]] = []
    chunk: list[UsageEvent] = []
    items: set[tuple[CounterName, str | None]] = set()
    for event in sorted(events, key=lambda one: (one.meter, one.day)):
        needed = group.items(event)
        if each * (len(chunk) + 1) + len(items | needed) > ACTIONS:
            done.append(chunk)
            chunk, items = [], set()
        chunk.append(event)
        items |= needed
    return [*done, chunk] if chunk else done


def counter_writes(
    group: UsageGroup,
    deltas: Mapping[CounterName, CounterDelta],
    seen: StoredBefore,
    *,
    shard: int,
    cause: str,
    now: datetime,
) -> list[Write]:
    """One update a counter and one put a new value. A level that is not above the one seen is not written."""
    writes: list[Write] = []
    for name, delta in deltas.items():
        counter = seen.counters.get(name, {})
        new = _new_values(group, name, delta, counter, seen)
        level, guard = _level(group.meters[name.meter].aggregation, delta, counter)
        unique = {"unique": len(new)} if delta.values else {}
        capped = {"capped": True} if delta.values and _is_full(counter) else {}
        attributes = _attributes(group, name, shard=shard, cause=cause, now=now)
        writes.append(
            Update(
                table=Table.RECORDS,
                key=group.counter(name, shard),
                add={**_added(group, name, delta.total, delta.count, now), **unique},
                set={**attributes, **level, **capped},
                expected=guard,
            )
        )
        writes += [_value(group, name, value, now) for value in new]
    return writes


def _added(group: UsageGroup, name: CounterName, total: Decimal, count: int, now: datetime) -> dict[str, int | Decimal]:
    late = name.scope == "period" and is_closed(group.period, now)
    return {
        "total": total,
        "count": count,
        "version": 1,
        **({"late_total": total, "late_count": count} if late else {}),
    }


def _attributes(group: UsageGroup, name: CounterName, *, shard: int, cause: str, now: datetime) -> dict[str, Any]:
    start, end = _bounds(group, name)
    return {
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
    }


def void_writes(group: UsageGroup, event: UsageEvent, *, shard: int, cause: str, now: datetime) -> list[Write]:
    """Takes one counted event back. A level or a number of values cannot be taken back by itself: it is marked
    `stale` until it is counted again from the lake."""
    stale = {"stale": True} if group.reads_before(group.names(event)[0]) else {}
    return [_void_write(group, name, event, stale, shard=shard, cause=cause, now=now) for name in group.names(event)]


def _void_write(
    group: UsageGroup, name: CounterName, event: UsageEvent, stale: Item, *, shard: int, cause: str, now: datetime
) -> Update:
    attributes = _attributes(group, name, shard=shard, cause=cause, now=now)
    # The boundary may have moved since: what the counter says of its period stays.
    end = {"period_end": attributes.pop("period_end")}
    return Update(
        table=Table.RECORDS,
        key=group.counter(name, shard),
        add=_added(group, name, -event.quantity, -1, now),
        set={**attributes, **stale},
        set_once=end,
    )


def _new_values(
    group: UsageGroup, name: CounterName, delta: CounterDelta, counter: Item, seen: StoredBefore
) -> list[str]:
    """Values that are not stored yet, in a fixed order; none once the counter is full."""
    if not delta.values or _is_full(counter):
        return []
    return sorted(value for value in delta.values if group.value_key(name, value) not in seen.values)


def _is_full(counter: Item) -> bool:
    return bool(counter.get("unique", 0) >= UNIQUE_CAP)


def _value(group: UsageGroup, name: CounterName, value: str, now: datetime) -> Put:
    """Kept as long as a late event may ask for it, also when the end of its period moves out. In `events`: it is no
    state that the lake should have."""
    key = group.value_key(name, value)
    day = parse_rfc3339(f"{name.start.removeprefix('DAY#')}T00:00:00Z") if name.scope == "day" else None
    end = (day or group.period.end) + KEPT
    if day is None:
        end += EXTENDED
    item = new_item(key, "unique_value", expires_at=epoch(max(end, now + KEPT)))
    return Put(table=Table.EVENTS, item=item, expected=Absent())


def _level(aggregation: Aggregation, delta: CounterDelta, stored: Item) -> tuple[dict[str, Any], Less | None]:
    """What a gauge is set to, and the condition under which that is still right."""
    if aggregation is Aggregation.MAX and delta.max is not None and delta.max > stored.get("max", -1):
        return {"max": delta.max}, Less("max", delta.max)
    if aggregation is Aggregation.LATEST and delta.latest_at > stored.get("latest_at", ""):
        return {"latest": delta.latest, "latest_at": delta.latest_at}, Less("latest_at", delta.latest_at)
    return {}, None


def _bounds(group: UsageGroup, name: CounterName) -> tuple[str, str]:
    if name.scope == "period":
        return group.start, rfc3339(group.period.end)
    start = parse_rfc3339(f"{name.start.removeprefix('DAY#')}T00:00:00Z")
    return rfc3339(start), rfc3339(start + timedelta(days=1))
