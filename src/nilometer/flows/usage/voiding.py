"""Events that take a transaction each, as they are rare: voids, events whose void came first, and events that settle
a reservation.

What if void and event arrive at the same moment? Both write the event's key: one is cancelled, reads it again,
and takes the other order's path.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any

from nilometer.domain.events.outcome import Outcome
from nilometer.domain.limits.reservation import ReservationStatus, ended, settles
from nilometer.domain.store import keys
from nilometer.domain.store.keys import late
from nilometer.domain.store.times import parse_rfc3339, rfc3339
from nilometer.domain.store.writes import Item, Key, Put, Table, Update, Version, Write
from nilometer.domain.usage.counter import UsageGroup, void_writes
from nilometer.domain.usage.event import UsageEvent, fact
from nilometer.domain.usage.period import Period, period_at
from nilometer.domain.usage.void import VoidEvent, counted, tombstone, void_fact, void_marker, void_of
from nilometer.errors import Cancelled, Rejected, Unavailable
from nilometer.flows.usage.counting import UsageBatch, counting_writes, still_waiting
from nilometer.flows.usage.events import UsageArrival
from nilometer.flows.usage.known import Tenant


def take_back(batch: UsageBatch, one: UsageArrival, tenant: Tenant) -> None:
    """Settles a void: what it names is taken back now, or when it arrives."""
    void = one.event
    assert isinstance(void, VoidEvent)  # noqa: S101  # the caller sorted them
    _settle(batch, one, lambda: _void_writes(batch, one, void, tenant))


def bury(batch: UsageBatch, one: UsageArrival, group: UsageGroup) -> None:
    """Settles an event whose void came first: both facts are kept, the counters stay."""
    event = one.event
    assert isinstance(event, UsageEvent)  # noqa: S101  # the caller sorted them
    _settle(batch, one, lambda: _late_writes(batch, one, event, group))


def count_reserved(batch: UsageBatch, group: UsageGroup, one: UsageArrival, tenant: Tenant) -> bool:
    """Counts an event and settles the reservation that it names, in one transaction. False: count it like any other,
    because what it names does not exist or has ended."""
    event = one.event
    assert isinstance(event, UsageEvent)  # noqa: S101  # the caller sorted them
    assert event.reservation_id is not None  # noqa: S101  # as above
    key = keys.reservation(event.workspace_id, event.reservation_id)
    doubt = False

    def attempt() -> bool:
        nonlocal doubt
        if doubt and not batch.unstored([one], consistent=True):
            return True
        reservation = batch.store.get(Table.RECORDS, key, consistent=True)
        if reservation is None or not settles(reservation, event) or batch.expired:
            return False
        same = reservation["period_start"] == group.start
        spent = group.meters[event.meter].added_by(event.quantity) if same else Decimal(0)
        settled = ended(reservation, ReservationStatus.SETTLED, now=batch.now, used=event, spent=spent)
        doubt = True
        _commit(batch, one, [*counting_writes(batch, group, [one], random.randrange(tenant.shards)), *settled])
        return True

    return batch.retry(attempt) or False


def _settle(batch: UsageBatch, one: UsageArrival, writes: Callable[[], list[Write]]) -> None:
    doubt = False

    def attempt() -> None:
        nonlocal doubt
        if doubt:
            one.buried = False
            if not batch.unstored([one], consistent=True) and not one.buried:
                return
        if not batch.expired:
            doubt = True
            _commit(batch, one, [*writes(), *still_waiting([one])])

    batch.retry(attempt)


def _commit(batch: UsageBatch, one: UsageArrival, writes: Sequence[Write]) -> None:
    try:
        batch.store.commit(writes)
    except Unavailable as error:
        one.note(error)
        raise
    one.outcome = Outcome.ACCEPTED


def _void_writes(batch: UsageBatch, one: UsageArrival, void: VoidEvent, tenant: Tenant) -> list[Write]:
    if one.buried:
        raise Rejected("invalid_schema", f"{void.id!r} was voided itself before it arrived; send it under a new id")
    target = batch.store.get(Table.EVENTS, void.target, consistent=True)
    marker = void_marker(void, now=batch.now)
    if target is None:
        return [tombstone(void, now=batch.now), marker]
    if target["workspace_id"] != void.workspace_id:
        raise Rejected("invalid_schema", f"{void.voids_id!r} is usage of another workspace; write that as the subject")
    if target["kind"] == "usage_tombstone" or "voided_by" in target:
        return [marker]
    if target["kind"] != "usage_event" or "voids_id" in target:
        raise Rejected("invalid_schema", f"{void.voids_id!r} is a void itself; record the usage anew instead")
    return [
        void_fact(void, target, one.key, received_at=one.received_at, now=batch.now),
        _mark(target, {"voided_by": void.id}),
        *_counters(batch, void, target, tenant),
    ]


def _counters(batch: UsageBatch, void: VoidEvent, target: Item, tenant: Tenant) -> list[Write]:
    """In the period and day in which the event was counted, whatever the timeline says by now."""
    event = counted(target)
    period = period_at(tenant.billing, event.time)
    if rfc3339(period.start) != target["period_start"]:
        period = Period(parse_rfc3339(target["period_start"]), period.end, provisional=True)
    meters = batch.known.meters([event.meter])
    group = UsageGroup(void.workspace_id, period, meters)
    return void_writes(group, event, shard=random.randrange(tenant.shards), cause=void.id, now=batch.now)


def _late_writes(batch: UsageBatch, one: UsageArrival, event: UsageEvent, group: UsageGroup) -> list[Write]:
    stone = batch.store.get(Table.EVENTS, one.key, consistent=True)
    if stone is None or stone["payload_hash"]:
        raise Cancelled(["None"])  # settled by somebody else, or gone: look again
    if stone["workspace_id"] != event.workspace_id:
        raise Rejected("invalid_schema", "it was voided for another workspace; record it under an id of its own")
    kept = fact(event, group.period, received_at=one.received_at, now=batch.now)
    kept_late = Put(table=Table.EVENTS, item=_beside(kept, voided_by=stone["void_id"]), expected=kept.expected)
    void = void_of(stone)
    undone = void_fact(void, kept.item, late(void.key), received_at=parse_rfc3339(stone["received_at"]), now=batch.now)
    return [kept_late, undone, _mark(stone, {"payload_hash": event.payload_hash})]


def _beside(put: Put, **more: Any) -> Item:
    key = late(put.key)
    return {**put.item, "pk": key.pk, "sk": key.sk, **more}


def _mark(item: Item, attributes: Mapping[str, Any]) -> Update:
    version = int(item["version"])
    return Update(
        table=Table.EVENTS,
        key=Key(item["pk"], item["sk"]),
        set={**attributes, "version": version + 1},
        expected=Version(version),
    )
