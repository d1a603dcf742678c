"""Voids: one usage event taken back, whichever of the two arrives first.

    event, then void    fact · void fact (minus quantity) · counters take it back
    void, then event    tombstone under the event's identity · marker under the void's own;
                        when the event comes: its fact and the void's fact, counters untouched

Either way the two facts add up to zero, and the tombstone outlives every copy that could still be accepted.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from nilometer.domain.events.cloudevents import CloudEvent
from nilometer.domain.store import keys
from nilometer.domain.store.times import epoch, parse_rfc3339, rfc3339
from nilometer.domain.store.writes import Absent, Item, Key, Put, Table, new_item
from nilometer.domain.usage.event import (
    KEPT,
    OLDEST,
    VOIDED,
    ProducerEvent,
    UsageEvent,
    content_hash,
    workspace_of,
)
from nilometer.errors import Rejected


@dataclass(frozen=True, slots=True, kw_only=True)
class VoidEvent(ProducerEvent):
    """Takes one usage event back, whether it has arrived or not."""

    voids_source: str
    voids_id: str

    @property
    def key(self) -> Key:
        """The void's own fact in the events table, among the usage events."""
        return keys.usage_event(self.source, self.id)

    @property
    def target(self) -> Key:
        """The fact of the usage event that it takes back; its tombstone when the void comes first."""
        return keys.usage_event(self.voids_source, self.voids_id)


def void_event(
    event: CloudEvent, *, voids_source: str, voids_id: str, voids_time: datetime | None, arrival: datetime
) -> VoidEvent:
    """With `voids_time`, a void of an event that is too old to be found is `Rejected`."""
    workspace_id = workspace_of(event)
    if (voids_source, voids_id) == (event.source, event.id):
        raise Rejected("invalid_schema", "a void has an id of its own; data.id names the event that it takes back")
    if voids_time is not None and voids_time < arrival - OLDEST:
        raise Rejected("too_old", f"what it voids is more than {OLDEST.days} days old; correct it by an adjustment")
    at = rfc3339(event.time)
    return VoidEvent(
        id=event.id,
        source=event.source,
        type=event.type,
        workspace_id=workspace_id,
        voids_source=voids_source,
        voids_id=voids_id,
        time=event.time,
        at=at,
        payload_hash=content_hash([event.type, workspace_id, at, voids_source, voids_id]),
    )


def void_fact(void: VoidEvent, target: Item, key: Key, *, received_at: datetime, now: datetime) -> Put:
    """The void as it is kept: what `target` counted, taken back in the same period. The two rows add up to zero."""
    item = new_item(
        key,
        "usage_event",
        event_id=void.id,
        source=void.source,
        type=void.type,
        workspace_id=void.workspace_id,
        meter=target["meter"],
        quantity=-Decimal(target["quantity"]),
        unit=target["unit"],
        dimensions=target["dimensions"],
        time=void.at,
        created=epoch(void.time),
        period_start=target["period_start"],
        voids_source=void.voids_source,
        voids_id=void.voids_id,
        received_at=rfc3339(received_at),
        payload_hash=void.payload_hash,
        expires_at=epoch(max(void.time, now) + KEPT),
    )
    return Put(table=Table.EVENTS, item=item, expected=Absent())


def void_marker(void: VoidEvent, *, now: datetime) -> Put:
    """A void that took nothing back (yet), under its own identity, so that a copy of it is one."""
    item = _item(void, void.key, "usage_void", void.payload_hash, now)
    return Put(table=Table.EVENTS, item=item, expected=Absent())


def tombstone(void: VoidEvent, *, now: datetime) -> Put:
    """Under the identity of an event that has not arrived: when it does, it is taken back at once."""
    item = _item(void, void.target, "usage_tombstone", "", now)
    return Put(table=Table.EVENTS, item=item, expected=Absent())


def void_of(tombstone: Item) -> VoidEvent:
    """The void that a tombstone or a marker stands for."""
    return VoidEvent(
        id=tombstone["void_id"],
        source=tombstone["void_source"],
        type=VOIDED,
        workspace_id=tombstone["workspace_id"],
        voids_source=tombstone["voids_source"],
        voids_id=tombstone["voids_id"],
        time=parse_rfc3339(tombstone["time"]),
        at=tombstone["time"],
        payload_hash=tombstone["void_hash"],
    )


def counted(fact: Item) -> UsageEvent:
    """The event that a stored fact is of."""
    return UsageEvent(
        id=fact["event_id"],
        source=fact["source"],
        type=fact["type"],
        workspace_id=fact["workspace_id"],
        meter=fact["meter"],
        quantity=Decimal(fact["quantity"]),
        unit=fact["unit"],
        dimensions=fact["dimensions"],
        time=parse_rfc3339(fact["time"]),
        at=fact["time"],
        payload_hash=fact["payload_hash"],
    )


def _item(void: VoidEvent, key: Key, kind: str, payload_hash: str, now: datetime) -> Item:
    return new_item(
        key,
        kind,
        workspace_id=void.workspace_id,
        void_id=void.id,
        void_source=void.source,
        void_hash=void.payload_hash,
        voids_source=void.voids_source,
        voids_id=void.voids_id,
        time=void.at,
        payload_hash=payload_hash,
        received_at=rfc3339(now),
        expires_at=epoch(max(void.time, now) + KEPT),
    )
