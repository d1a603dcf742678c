"""What an internal service imports to report usage: build, validate, pack, publish.

    from nilometer import publish, recorded

    publish(bus, [recorded("req_42", source="/services/inference", workspace_id="ws_1", meter="api_calls",
                           quantity="1", unit="call", time=now)])

An id is the fact's own, chosen before the first send: after `Unavailable` the same events may be sent again, also in
other batches, and count once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

import msgspec

from nilometer.aws.eventbridge import Bus, BusEntry
from nilometer.domain.events.cloudevents import SPECVERSION, CloudEvent, check_context
from nilometer.domain.store.times import rfc3339
from nilometer.domain.store.together import together
from nilometer.domain.usage.event import BATCH, RECORDED, SNAPSHOT, VOIDED, plain, usage_event
from nilometer.domain.usage.void import void_event

TOGETHER = 100  # events in one usage.batch.v1
BILLED_BYTES = 60_000  # the bus bills an entry per 64 KB

Event = Mapping[str, Any]
"""A CloudEvent as JSON values, valid as far as can be checked without the tables."""


def recorded(
    event_id: str,
    *,
    source: str,
    workspace_id: str,
    meter: str,
    quantity: str | int | Decimal,
    unit: str,
    time: datetime,
    dimensions: Mapping[str, str] | None = None,
    reservation_id: str | None = None,
) -> Event:
    """An amount that was used. `Rejected` says what is wrong with it, as the consumer would.

    `event_id` and `source` are the fact's identity and stay in the lake for ever: no address, no name of a person.
    """
    data = _amount(meter, quantity, unit, dimensions)
    data |= {"reservation_id": reservation_id} if reservation_id else {}
    return _usage(_context(event_id, source, RECORDED, workspace_id, time), data)


def snapshot(
    event_id: str,
    *,
    source: str,
    workspace_id: str,
    meter: str,
    quantity: str | int | Decimal,
    unit: str,
    time: datetime,
    dimensions: Mapping[str, str] | None = None,
) -> Event:
    """A level at `time`, for meters of `max` and `latest`."""
    data = _amount(meter, quantity, unit, dimensions)
    return _usage(_context(event_id, source, SNAPSHOT, workspace_id, time), data)


def voided(
    event_id: str,
    *,
    source: str,
    workspace_id: str,
    voids_id: str,
    time: datetime,
    voids_source: str | None = None,
    voids_time: datetime | None = None,
    reason: str | None = None,
) -> Event:
    """Takes one event back; `voids_time` lets the consumer say when that is too old to be found."""
    context = _context(event_id, source, VOIDED, workspace_id, time)
    void_event(context, voids_source=voids_source or source, voids_id=voids_id, voids_time=voids_time, arrival=time)
    data = {
        "id": voids_id,
        "source": voids_source,
        "time": rfc3339(voids_time) if voids_time else None,
        "reason": reason,
    }
    return _event(context, {name: value for name, value in data.items() if value is not None})


def publish(bus: Bus, events: Iterable[Event], *, sender: str | None = None) -> int:
    """Returns the number of events once the bus has all of them; entries that it refused are sent again alone.
    `sender` is the source of the entries, else it is that of their first event.

    Up to 100 events share an entry, and ten entries a request. `Unavailable`: some may have been taken; send all again.
    """
    entries = [_entry(group, sender) for group in together(events, _length, most=TOGETHER, most_bytes=BILLED_BYTES)]
    bus.publish([entry for entry, _ in entries])
    return sum(count for _, count in entries)


def _usage(context: CloudEvent, data: dict[str, Any]) -> Event:
    usage_event(
        context,
        meter=data["meter"],
        quantity=data["quantity"],
        unit=data["unit"],
        dimensions=data.get("dimensions", {}),
        reservation_id=data.get("reservation_id"),
    )
    return _event(context, data)


def _context(event_id: str, source: str, type_: str, workspace_id: str, time: datetime) -> CloudEvent:
    check_context(specversion=SPECVERSION, event_id=event_id, source=source, subject=workspace_id)
    if time.tzinfo is None:
        raise ValueError("time is naive; hand in an aware datetime")
    return CloudEvent(id=event_id, source=source, type=type_, time=time, subject=workspace_id)


def _amount(
    meter: str, quantity: str | int | Decimal, unit: str, dimensions: Mapping[str, str] | None
) -> dict[str, Any]:
    text = quantity if isinstance(quantity, str) else plain(Decimal(quantity))
    return {"meter": meter, "quantity": text, "unit": unit, **({"dimensions": dict(dimensions)} if dimensions else {})}


def _event(context: CloudEvent, data: Mapping[str, Any]) -> Event:
    return {
        "specversion": SPECVERSION,
        "id": context.id,
        "source": context.source,
        "type": context.type,
        "subject": context.subject,
        "time": rfc3339(context.time),
        "data": data,
    }


def _length(event: Event) -> int:
    return len(msgspec.json.encode(event))


def _entry(group: Sequence[Event], sender: str | None) -> tuple[BusEntry, int]:
    event = group[0] if len(group) == 1 else _together(group)
    text = msgspec.json.encode(event).decode()
    return BusEntry(source=sender or str(event["source"]), detail_type=str(event["type"]), detail=text), len(group)


def _together(group: Sequence[Event]) -> Event:
    """A batch around events; what they share with it is written once. Its own id identifies nothing."""
    first = group[0]
    identities = msgspec.json.encode([[event["source"], event["id"]] for event in group])
    return {
        "specversion": SPECVERSION,
        "id": hashlib.sha256(identities).hexdigest()[:32],
        "source": first["source"],
        "type": BATCH,
        "subject": first["subject"],
        "time": first["time"],
        "data": {"events": [_element(event, first) for event in group]},
    }


def _element(event: Event, batch: Event) -> Event:
    inherited = {"specversion", *(name for name in ("source", "subject") if event[name] == batch[name])}
    if event["type"] == RECORDED:
        inherited.add("type")
    return {name: value for name, value in event.items() if name not in inherited}
