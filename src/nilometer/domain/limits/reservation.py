"""Reservations: a part of a hard limit held for work that has begun and is not counted yet.

    open ──▶ settled    by the usage event that names it, in the event's own transaction
      ├────▶ released   by who reserved it
      └────▶ expired    by the sweeper, once its time is over

An allowance is what can still be reserved of a meter in a period: `remaining` = hard limit - used - `reserved`. A
reservation is one conditional write on it. Usage that was not reserved lowers it as soon as the reader of the
counters sees it; `version` keeps that reader from overwriting a reservation that was made meanwhile.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum

from nilometer.domain.events.cloudevents import NAME_LENGTH
from nilometer.domain.limits.limit import Limit
from nilometer.domain.store import keys
from nilometer.domain.store.keys import part
from nilometer.domain.store.times import epoch, parse_rfc3339, rfc3339
from nilometer.domain.store.writes import (
    Absent,
    Enough,
    Item,
    Key,
    Put,
    Table,
    Update,
    Version,
    Write,
    new_item,
    version_after,
    version_of,
)
from nilometer.domain.usage.event import UsageEvent
from nilometer.domain.usage.meter import Aggregation, Meter
from nilometer.domain.usage.period import Period
from nilometer.errors import Rejected

LONGEST = timedelta(hours=24)
KEPT = timedelta(days=40)
_NOTHING = Decimal(0)


class ReservationStatus(StrEnum):
    """Only an open one holds something."""

    OPEN = "open"
    SETTLED = "settled"
    RELEASED = "released"
    EXPIRED = "expired"


_RESERVABLE = frozenset({Aggregation.SUM, Aggregation.COUNT})
_ENDED = frozenset({ReservationStatus.SETTLED, ReservationStatus.RELEASED, ReservationStatus.EXPIRED})
RESERVATION_STEPS: Mapping[str, frozenset[str]] = {
    "": frozenset({ReservationStatus.OPEN}),
    ReservationStatus.OPEN: _ENDED,
}
"""What each status becomes, "" being no reservation: an ended one never changes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reservation:
    """A quantity in the meter's unit, held in one period (its start in RFC 3339) until `ends_at`."""

    id: str
    workspace_id: str
    meter: str
    quantity: Decimal
    period_start: str
    ends_at: datetime
    leased: bool = False
    """A block of a lease: no sweeper releases it."""

    @property
    def key(self) -> Key:
        """Its own item in the records table."""
        return keys.reservation(self.workspace_id, self.id)

    @property
    def allowance(self) -> Key:
        """The item of its meter and period whose sum of reservations it is part of."""
        return keys.allowance(self.workspace_id, self.meter, self.period_start)


def check_reservable(meter: Meter, *, leased: bool) -> None:
    """`Rejected("invalid_schema")` for a meter whose limit would not hold: levels and numbers of values are no amounts
    that can be held, and the one event that reports a block of a lease counts 1, however much was given out."""
    if meter.aggregation not in _RESERVABLE:
        raise Rejected(
            "invalid_schema",
            f"meter {meter.slug} ({meter.aggregation}) cannot be reserved or leased, only sum and count can; use check",
        )
    if leased and meter.aggregation is Aggregation.COUNT:
        raise Rejected(
            "invalid_schema",
            f"meter {meter.slug} (count) cannot be leased: one event reports a whole block, and counts 1; "
            "reserve 1 for each event, or use a sum meter",
        )


def new_reservation(
    reservation_id: str,
    *,
    workspace_id: str,
    meter: str,
    quantity: Decimal,
    period: Period,
    ttl: timedelta,
    now: datetime,
    leased: bool = False,
) -> Reservation:
    """`Rejected` with `invalid_schema` or `quantity_invalid`."""
    if not 0 < len(part(reservation_id).encode()) <= NAME_LENGTH:
        raise Rejected("invalid_schema", f"a reservation's id has 1 to {NAME_LENGTH} bytes")
    if quantity <= 0:
        raise Rejected("quantity_invalid", "reserve more than nothing")
    if not timedelta(0) < ttl <= LONGEST:
        raise Rejected("invalid_schema", "a reservation lasts at most 24 hours; reserve again for longer work")
    return Reservation(
        id=reservation_id,
        workspace_id=workspace_id,
        meter=meter,
        quantity=quantity,
        period_start=rfc3339(period.start),
        ends_at=max(period.end, now) if leased else now + ttl,
        leased=leased,
    )


def reserved(one: Reservation, limit: Limit, *, now: datetime) -> list[Write]:
    """Holds when enough is left of this version of the limit."""
    return [
        _kept(one, ReservationStatus.OPEN, version=1, now=now, cause=None, expected=None),
        Update(
            table=Table.RECORDS,
            key=one.allowance,
            add={"remaining": -one.quantity, "reserved": one.quantity, "version": 1},
            set={"updated_at": rfc3339(now), "cause": one.id},
            expected=Enough("remaining", one.quantity, {"limit_version": limit.version}),
        ),
    ]


def ended(
    item: Item,
    status: ReservationStatus,
    *,
    now: datetime,
    used: UsageEvent | None = None,
    spent: Decimal = _NOTHING,
) -> list[Write]:
    """What was held goes back, less what is `spent`: what the event `used` adds to the counter of its period."""
    one = reservation_of(item)
    version = int(item["version"])
    return [
        _kept(one, status, version=version + 1, now=now, cause=used.id if used else None, expected=Version(version)),
        Update(
            table=Table.RECORDS,
            key=one.allowance,
            add={"remaining": one.quantity - spent, "reserved": -one.quantity, "version": 1},
            set={"updated_at": rfc3339(now), "cause": one.id},
        ),
    ]


def allowance(
    stored: Item | None, *, workspace_id: str, meter: str, period: Period, limit: Limit, used: Decimal, now: datetime
) -> Put | None:
    """The allowance by what was used when it was read; `None` when it says so already."""
    assert limit.hard is not None  # noqa: S101  # only a hard limit can be reserved from
    held = Decimal(stored["reserved"]) if stored else Decimal(0)
    remaining = limit.hard - used - held
    if stored and stored["remaining"] == remaining and stored["limit_version"] == limit.version:
        return None
    key = keys.allowance(workspace_id, meter, rfc3339(period.start))
    item = new_item(
        key,
        "allowance",
        version_after(stored),
        workspace_id=workspace_id,
        meter=meter,
        period_start=rfc3339(period.start),
        remaining=remaining,
        reserved=held,
        limit_version=limit.version,
        updated_at=rfc3339(now),
        cause=None,
        actor=None,
        expires_at=epoch(max(period.end, now) + KEPT),
    )
    return Put(table=Table.RECORDS, item=item, expected=version_of(stored))


def reservation_of(item: Item) -> Reservation:
    """From its item in the records table, open or not."""
    return Reservation(
        id=item["reservation_id"],
        workspace_id=item["workspace_id"],
        meter=item["meter"],
        quantity=Decimal(item["quantity"]),
        period_start=item["period_start"],
        ends_at=parse_rfc3339(item["ends_at"]),
        leased=item.get("leased", False),
    )


def settles(item: Item | None, event: UsageEvent) -> bool:
    """Whether this stored reservation is one that the event may settle."""
    return bool(
        item
        and item["status"] == ReservationStatus.OPEN
        and (item["workspace_id"], item["meter"]) == (event.workspace_id, event.meter)
    )


def _kept(
    one: Reservation,
    status: ReservationStatus,
    *,
    version: int,
    now: datetime,
    cause: str | None,
    expected: Version | None,
) -> Put:
    """Open reservations are in the index, by when they end; blocks of leases are not."""
    index = keys.reserved_until(one.ends_at, one.workspace_id, one.id)
    item = new_item(
        one.key,
        "reservation",
        version,
        reservation_id=one.id,
        workspace_id=one.workspace_id,
        meter=one.meter,
        quantity=one.quantity,
        period_start=one.period_start,
        ends_at=rfc3339(one.ends_at),
        status=str(status),
        **({"leased": True} if one.leased else {}),
        **(index if status is ReservationStatus.OPEN and not one.leased else {}),
        updated_at=rfc3339(now),
        cause=cause,
        actor=None,
        expires_at=epoch(one.ends_at + KEPT),
    )
    return Put(table=Table.RECORDS, item=item, expected=expected or Absent())
