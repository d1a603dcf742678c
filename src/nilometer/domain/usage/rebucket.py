"""A fact whose billing period turned out to be another: moved, with both halves visible in the lake.

fact       period_start is the new one, its version is one higher
counters   taken back in the old period, counted in the new; the UTC day stays
lake       a row that takes it back in the old period, and one that counts it in the new
"""

from __future__ import annotations

from datetime import datetime, timedelta

from nilometer.domain.store import keys
from nilometer.domain.store.times import from_epoch, parse_rfc3339, rfc3339
from nilometer.domain.store.writes import (
    Absent,
    Item,
    Key,
    Put,
    Table,
    Update,
    Version,
    Write,
    new_item,
    unchanged,
    version_after,
    version_of,
)
from nilometer.domain.usage.counter import StoredBefore, UsageGroup, counter_writes, void_writes
from nilometer.domain.usage.event import KEPT, UsageEvent
from nilometer.domain.usage.period import Period, calendar_month, period_at
from nilometer.domain.usage.void import counted

MOVED = "usage.moved.v1"
MOVED_BY = "moved "  # what the `cause` of a record begins with that changed because an event moved


def moved_since(before: Item | None, after: Item | None, *, now: datetime) -> datetime | None:
    """The first instant, of those whose facts are still kept, that is in another period by `after` than by `before`.

    Periods change only at the bounds in either record and at the turns of months, so only these are compared. Most
    changes of a billing record leave its periods alone.
    """
    if before and after and all(before.get(name) == after.get(name) for name in ("periods", "renews")):
        return None
    since = now - KEPT
    months = {calendar_month(since + timedelta(days=days)).end for days in range(0, KEPT.days + 1, 28)}
    known = {
        from_epoch(one)
        for billing in (before, after)
        for bounds in (billing or {}).get("periods", ())
        for one in bounds
    }
    instants = sorted({since} | {one for one in months | known if since < one <= now})
    return next((at for at in instants if period_at(before, at).start != period_at(after, at).start), None)


def mark(stored: Item | None, workspace_id: str, *, since: datetime, billing_version: int, now: datetime) -> Put | None:
    """The workspace's facts since then may be in the wrong period, by this version of its billing record; `None` when
    the mark says so already."""
    if stored and stored["billing_version"] >= billing_version:
        return None
    key = keys.rebucket(workspace_id)
    item = new_item(
        key,
        "rebucket",
        version_after(stored),
        workspace_id=workspace_id,
        since=min(rfc3339(since), stored["since"]) if stored else rfc3339(since),
        billing_version=billing_version,
        marked_at=rfc3339(now),
        gsi1pk=keys.REBUCKET,
        gsi1sk=key.pk,
        updated_at=rfc3339(now),
        cause=None,
        actor=None,
    )
    return Put(table=Table.RECORDS, item=item, expected=version_of(stored))


def looked(stored: Item, *, now: datetime) -> Update:
    """Nothing was to be moved; the mark stays, as the lake may be behind. Cancelled when it was marked again."""
    return Update(
        table=Table.RECORDS,
        key=Key(stored["pk"], stored["sk"]),
        add={"version": 1},
        set={"looked_at": rfc3339(now), "updated_at": rfc3339(now)},
        expected=unchanged(stored, "billing_version"),
    )


def is_elsewhere(fact: Item, period: Period) -> bool:
    """Whether a counted fact belongs to `period` and is not in it. What was voided adds up to zero where it is."""
    return fact["kind"] == "usage_event" and "voided_by" not in fact and fact["period_start"] != rfc3339(period.start)


def moved(fact: Item, group: UsageGroup, seen: StoredBefore, *, shard: int, now: datetime) -> list[Write]:
    """All that moves one fact into the period of `group`; cancelled when somebody moved or voided it meanwhile.

    The old period's end is not known any more; its counter keeps what it says. A move is never late: it says anew
    what was in a period when it was closed.
    """
    event = counted(fact)
    cause = moved_by(event)
    old = _restated(group, parse_rfc3339(fact["period_start"]))
    group = _restated(group, group.period.start)
    taken, _day = void_writes(old, event, shard=shard, cause=cause, now=now)
    deltas = {name: delta for name, delta in group.deltas([event]).items() if name.scope == "period"}
    given = counter_writes(group, deltas, seen, shard=shard, cause=cause, now=now)
    return [_marked(fact, group), *_rows(fact, group, now), taken, *given]


def moved_by(event: UsageEvent) -> str:
    """The `cause` of records that changed because the event moved."""
    return f"{MOVED_BY}{event.id}"


def _restated(group: UsageGroup, start: datetime) -> UsageGroup:
    return UsageGroup(group.workspace_id, Period(start, group.period.end, provisional=True), group.meters)


def _marked(fact: Item, group: UsageGroup) -> Update:
    version = int(fact["version"])
    return Update(
        table=Table.EVENTS,
        key=Key(fact["pk"], fact["sk"]),
        set={"period_start": group.start, "version": version + 1},
        expected=Version(version),
    )


def _rows(fact: Item, group: UsageGroup, now: datetime) -> list[Write]:
    """Named by the fact's version, so that each move has two rows of its own."""
    version = int(fact["version"])
    standing = fact["event_id"] if version == 1 else f"{fact['event_id']}~{version - 1}+"
    common = {**fact, "type": MOVED, "version": 1, "received_at": rfc3339(now)}
    back = {
        **common,
        "sk": f"MOVED#{version}-",
        "event_id": f"{fact['event_id']}~{version}-",
        "quantity": -fact["quantity"],
        "voids_source": fact["source"],
        "voids_id": standing,
    }
    anew = {
        **common,
        "sk": f"MOVED#{version}+",
        "event_id": f"{fact['event_id']}~{version}+",
        "period_start": group.start,
    }
    return [Put(table=Table.EVENTS, item=item, expected=Absent()) for item in (back, anew)]
