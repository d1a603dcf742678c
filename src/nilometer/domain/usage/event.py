"""A usage event: what it must be, when it may still be accepted, and the fact that is kept of it.

The closed window: a fact is kept for at least `KEPT` after its time, and an event older than `OLDEST` is
refused. A copy that outlives its fact is too old to be accepted: none is ever counted twice.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from nilometer.domain.events.cloudevents import NAME_LENGTH, CloudEvent, check_not_ahead
from nilometer.domain.store import keys
from nilometer.domain.store.keys import part
from nilometer.domain.store.times import epoch, rfc3339
from nilometer.domain.store.writes import Absent, Put, Table, new_item
from nilometer.domain.usage.meter import DIMENSIONS, GAUGES, SLUG, Aggregation, Meter
from nilometer.domain.usage.period import Period
from nilometer.errors import Rejected

RECORDED = "usage.recorded.v1"
SNAPSHOT = "usage.snapshot.v1"
VOIDED = "usage.voided.v1"
BATCH = "usage.batch.v1"

OLDEST = timedelta(days=35)
KEPT = timedelta(days=40)
DIMENSION_LENGTH = 128

_QUANTITY = re.compile(r"[0-9]{1,15}(\.[0-9]{1,9})?")


@dataclass(frozen=True, slots=True, kw_only=True)
class ProducerEvent:
    """What a valid event of a producer says of itself, whether it reports usage or takes it back.

    `at` is `time` as RFC 3339 in UTC with milliseconds. Two events of the same content have the same `payload_hash`.
    """

    id: str
    source: str
    type: str
    workspace_id: str
    time: datetime
    at: str
    payload_hash: str


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageEvent(ProducerEvent):
    """One valid event. `quantity` is exact; a snapshot's is a level, a recorded event's an amount."""

    meter: str
    quantity: Decimal
    unit: str
    dimensions: Mapping[str, str]
    reservation_id: str | None = None

    @property
    def day(self) -> str:
        """The UTC date, `YYYY-MM-DD`, of `at`."""
        return self.at[:10]


def usage_event(
    event: CloudEvent,
    *,
    meter: str,
    quantity: str | int,
    unit: str,
    dimensions: Mapping[str, str],
    reservation_id: str | None = None,
) -> UsageEvent:
    """`Rejected` with `invalid_schema`, `quantity_invalid` or `too_large`. Same content, same hash, however written."""
    workspace_id = workspace_of(event)
    if not SLUG.fullmatch(meter):
        raise Rejected(
            "unknown_meter", f"{meter[:80]!r} is no meter's slug: a-z, 0-9 and _, at most 64, a letter first"
        )
    _check_dimensions(dimensions)
    check_reservation_id(reservation_id)
    amount = parse_quantity(quantity)
    at = rfc3339(event.time)
    return UsageEvent(
        id=event.id,
        source=event.source,
        type=event.type,
        workspace_id=workspace_id,
        meter=meter,
        quantity=amount,
        unit=unit,
        dimensions=dimensions,
        time=event.time,
        at=at,
        payload_hash=_hash(event.type, workspace_id, at, meter, amount, unit, dimensions, reservation_id),
        reservation_id=reservation_id,
    )


def workspace_of(event: CloudEvent) -> str:
    """Its subject; `Rejected("invalid_schema")` without one."""
    if not event.subject:
        raise Rejected("invalid_schema", "subject is missing; write the id of the workspace that used it")
    return event.subject


def workspace_source(workspace_id: str) -> str:
    """The source of a workspace's own events: its id is one segment of the path, with `%25` for `%` and `%2F` for `/`,
    so that `acme` has no source of `acme/b`."""
    return "/workspaces/" + workspace_id.replace("%", "%25").replace("/", "%2F")


def is_source_of(source: str, workspace_id: str) -> bool:
    """Whether it is that source, or begins with it and a `/`. No source is of two workspaces."""
    own = workspace_source(workspace_id)
    return source == own or source.startswith(f"{own}/")


def content_hash(content: Sequence[object]) -> str:
    """32 hexadecimal digits of SHA-256 over the content as JSON."""
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:32]


def plain(number: Decimal) -> str:
    """Without an exponent, unless that would be a book: 1e999999999 has a gigabyte of zeros."""
    return format(number, "f") if -40 < number.adjusted() < 40 else str(number)


def parse_quantity(quantity: str | int | Decimal) -> Decimal:
    """Exact, >= 0, at most 15 integer and 9 fraction digits; else `Rejected("quantity_invalid")`."""
    text = quantity if isinstance(quantity, str) else plain(Decimal(quantity))
    if not _QUANTITY.fullmatch(text):
        raise Rejected(
            "quantity_invalid",
            f"quantity {text[:40]!r}; write a decimal string such as '1532' or '0.25': not negative, "
            "at most 15 digits before and 9 after the point",
        )
    return Decimal(text)


def check_window(time: datetime, *, arrival: datetime) -> None:
    """`Rejected` with `too_old` or `too_far_in_future`."""
    if time < arrival - OLDEST:
        raise Rejected(
            "too_old", f"time {rfc3339(time)} is more than {OLDEST.days} days ago; correct it by an adjustment"
        )
    check_not_ahead(time, arrival=arrival)


def check_meter(event: UsageEvent, meter: Meter) -> None:
    """`Rejected` with `meter_inactive`, `unit_mismatch` or `invalid_schema`."""
    if not meter.active:
        raise Rejected("meter_inactive", f"meter {meter.slug} takes no usage; activate it or use another")
    if event.unit != meter.unit:
        raise Rejected("unit_mismatch", f"unit {event.unit!r}; meter {meter.slug} counts in {meter.unit!r}")
    # A meter of levels takes a recorded event as a level seen at its time; a level is no amount to be added.
    if event.type != RECORDED and meter.aggregation not in GAUGES:
        raise Rejected("invalid_schema", f"meter {meter.slug} ({meter.aggregation}) takes {RECORDED}, not {event.type}")
    for name in event.dimensions:
        if name not in meter.dimensions:
            raise Rejected(
                "invalid_schema", f"dimension {name!r} is not declared by meter {meter.slug}; declare it first"
            )
    if meter.aggregation is Aggregation.UNIQUE and meter.dimensions[0] not in event.dimensions:
        raise Rejected("invalid_schema", f"meter {meter.slug} counts the values of {meter.dimensions[0]!r}; send it")


def fact(event: UsageEvent, period: Period, *, received_at: datetime, now: datetime) -> Put:
    """The event as it is kept: once, and long enough that a later copy is too old."""
    key = keys.usage_event(event.source, event.id)
    item = new_item(
        key,
        "usage_event",
        event_id=event.id,
        source=event.source,
        type=event.type,
        workspace_id=event.workspace_id,
        meter=event.meter,
        quantity=event.quantity,
        unit=event.unit,
        dimensions=event.dimensions,
        time=event.at,
        created=epoch(event.time),
        period_start=rfc3339(period.start),
        received_at=rfc3339(received_at),
        payload_hash=event.payload_hash,
        expires_at=epoch(max(event.time, now) + KEPT),
    )
    if event.reservation_id:
        item["reservation_id"] = event.reservation_id
    return Put(table=Table.EVENTS, item=item, expected=Absent())


def _hash(
    type_: str,
    workspace_id: str,
    at: str,
    meter: str,
    quantity: Decimal,
    unit: str,
    dimensions: Mapping[str, str],
    reservation_id: str | None,
) -> str:
    """Of the content, not of the bytes: `1532`, `"1532"` and `"1532.0"` are the same payload."""
    amount = format(quantity.normalize(), "f")
    content = [type_, workspace_id, at, meter, amount, unit, sorted(dimensions.items())]
    content += [reservation_id] if reservation_id else []
    return content_hash(content)


def check_reservation_id(reservation_id: str | None) -> None:
    """A part of a key, as ids are."""
    if reservation_id is not None and not 0 < len(part(reservation_id).encode()) <= NAME_LENGTH:
        raise Rejected("too_large", f"a reservation's id has 1 to {NAME_LENGTH} bytes")


def _check_dimensions(dimensions: Mapping[str, str]) -> None:
    if len(dimensions) > DIMENSIONS:
        raise Rejected("too_large", f"{len(dimensions)} dimensions; an event has at most {DIMENSIONS}")
    for name, value in dimensions.items():
        if len(value) > DIMENSION_LENGTH:
            raise Rejected(
                "too_large", f"dimension {name[:40]!r} has {len(value)} characters; at most {DIMENSION_LENGTH}"
            )
