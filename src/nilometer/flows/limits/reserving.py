"""Reserve, settle, release: hard limits that hold while work is in progress.

What if two reserve the last of it? Both are conditional writes on one `remaining`: one is refused. What if the answer
is lost? The reservation's id is its own: asked again, the answer is the same. What if nobody ever settles it? The
sweeper releases it when its time is over. A late usage event is counted all the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import chain
from typing import TypeVar

from nilometer.aws.dynamodb import Store
from nilometer.domain.limits.limit import Limit
from nilometer.domain.limits.reservation import (
    KEPT,
    Reservation,
    ReservationStatus,
    allowance,
    check_reservable,
    ended,
    new_reservation,
    reservation_of,
    reserved,
)
from nilometer.domain.store import keys
from nilometer.domain.store.times import epoch, rfc3339
from nilometer.domain.store.writes import Item, Key, Table
from nilometer.domain.usage.meter import Meter
from nilometer.domain.usage.period import Period, period_at
from nilometer.errors import Cancelled, Refused, Rejected, Unavailable
from nilometer.flows.inbox.races import retrying
from nilometer.flows.usage.counters import used_in
from nilometer.flows.usage.known import Known

TURNS = 288  # of a day: in each a sweep looks at other hours of what earlier versions opened

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reserved:
    """`remaining` is what could still be reserved when it was refused; `None` where nothing limits it."""

    granted: bool
    remaining: Decimal | None


def reserve(
    known: Known,
    reservation_id: str,
    *,
    workspace_id: str,
    meter: str,
    quantity: Decimal,
    ttl: timedelta,
    now: datetime,
    leased: bool = False,
) -> Reserved:
    """Holds `quantity` of the hard limit for `ttl`: one transaction of two conditional writes. What is `leased` has no
    end, whatever `ttl` says (`flows.limits.leasing`).

    A limit that changed applies at once where it leaves less: a refused write reads it again. The same id again is the
    same answer; `Refused` for the same id with another content or one that has ended, `Rejected` for a meter that does
    not count or sum. Where no hard limit is, everything is granted and nothing is held. `Unavailable`: ask again with
    the same id.
    """
    found = known.meters([meter]).get(meter)
    if found is None:
        raise Rejected("unknown_meter", f"no meter {meter!r}; create it: nilometer meter create {meter} ...")
    check_reservable(found, leased=leased)

    def attempt(*, fresh: bool) -> Reserved:
        limit, period = _bounds(known, workspace_id, meter, now, fresh=fresh)
        wanted = new_reservation(
            reservation_id,
            workspace_id=workspace_id,
            meter=meter,
            quantity=quantity,
            period=period,
            ttl=ttl,
            now=now,
            leased=leased,
        )
        if limit is None or limit.hard is None:
            return Reserved(granted=True, remaining=None)
        refused = _refused(known.store, wanted, found, limit, period, now) if fresh else None
        return refused or _reserve(known.store, wanted, limit, now)

    try:
        return attempt(fresh=False)
    except Cancelled:
        return _against_others(lambda: attempt(fresh=True))


def left(known: Known, *, workspace_id: str, meter: str, now: datetime) -> Decimal | None:
    """What could be reserved a moment ago; `None` where nothing limits it. Eventually consistent."""
    limit, period = _bounds(known, workspace_id, meter, now, fresh=False)
    if limit is None or limit.hard is None:
        return None
    stored = known.store.get(Table.RECORDS, keys.allowance(workspace_id, meter, rfc3339(period.start)))
    return Decimal(stored["remaining"]) if stored else limit.hard


def release(known: Known, reservation_id: str, *, workspace_id: str, now: datetime) -> bool:
    """Gives back what was held; False when it had ended before."""
    return _end(known.store, keys.reservation(workspace_id, reservation_id), ReservationStatus.RELEASED, now)


def sweep(store: Store, *, now: datetime) -> int:
    """Releases open reservations whose time is over; how many. Harmless when repeated or run twice at once.

    Those that an earlier version opened: all of this hour and the last one; each older hour, up to 40 days back, once
    a day if called every five minutes.
    """
    parts = map(keys.reserved_part, range(keys.RESERVED_PARTS))
    due = (item for part in parts for item in store.query_index(part, until=keys.ended_until(now)))
    earlier = (item for hour in _hours(now) for part in keys.reserved_in_hour(hour) for item in store.query_index(part))
    ready = [item for item in chain(due, earlier) if reservation_of(item).ends_at <= now]
    return sum(_end(store, Key(item["pk"], item["sk"]), ReservationStatus.EXPIRED, now) for item in ready)


def synchronize(store: Store, workspace_id: str, meter: Meter, period: Period, limit: Limit, *, now: datetime) -> None:
    """An allowance by what is used now. Reads the allowance before the counter: who reserves or settles between
    the two moves its version, and cancels this."""
    key = keys.allowance(workspace_id, meter.slug, rfc3339(period.start))
    stored = store.get(Table.RECORDS, key, consistent=True)
    used = used_in(store, workspace_id, meter, rfc3339(period.start), consistent=True)
    put = allowance(stored, workspace_id=workspace_id, meter=meter.slug, period=period, limit=limit, used=used, now=now)
    if put:
        store.commit([put])


def _bounds(known: Known, workspace_id: str, meter: str, now: datetime, *, fresh: bool) -> tuple[Limit | None, Period]:
    tenant = known.tenants([workspace_id], fresh=fresh).get(workspace_id)
    return (tenant.limit(meter, now), period_at(tenant.billing, now)) if tenant else (None, period_at(None, now))


def _reserve(store: Store, wanted: Reservation, limit: Limit, now: datetime) -> Reserved:
    """`Cancelled` when too little is left by the allowance as it is stored, or somebody was faster."""
    try:
        store.commit(reserved(wanted, limit, now=now))
    except Cancelled as error:
        if 0 in error.condition_failed:
            return _again(store, wanted)
        raise
    return Reserved(granted=True, remaining=None)


def _again(store: Store, wanted: Reservation) -> Reserved:
    stored = store.get(Table.RECORDS, wanted.key, consistent=True)
    if stored is None:
        raise Unavailable("the reservation has just ended; try again")
    same = (stored["meter"], stored["quantity"]) == (wanted.meter, wanted.quantity)
    if not same or stored["status"] != ReservationStatus.OPEN:
        raise Refused(f"reservation {wanted.id} exists and is {stored['status']}; take another id")
    return Reserved(granted=True, remaining=None)


def _refused(
    store: Store, wanted: Reservation, meter: Meter, limit: Limit, period: Period, now: datetime
) -> Reserved | None:
    """The answer when too little is left by what is used now; `None` when it is worth another try."""
    try:
        synchronize(store, wanted.workspace_id, meter, period, limit, now=now)
    except Cancelled:
        return None
    stored = store.get(Table.RECORDS, wanted.allowance, consistent=True)
    if stored is None or stored["limit_version"] != limit.version or stored["remaining"] >= wanted.quantity:
        return None
    # What is missing may be held under this very id. Read after the allowance, so that it is seen.
    if store.get(Table.RECORDS, wanted.key, consistent=True):
        return _again(store, wanted)
    return Reserved(granted=False, remaining=max(Decimal(0), Decimal(stored["remaining"])))


def _end(store: Store, key: Key, status: ReservationStatus, now: datetime) -> bool:
    def attempt() -> bool:
        item: Item | None = store.get(Table.RECORDS, key, consistent=True)
        if item is None or item["status"] != ReservationStatus.OPEN:
            return False
        store.commit(ended(item, status, now=now))
        return True

    return _against_others(attempt)


def _against_others(attempt: Callable[[], _T]) -> _T:
    try:
        return retrying(attempt)
    except Cancelled as error:
        raise Unavailable("other requests use the same limit now; try again with the same id") from error


def _hours(now: datetime) -> Iterator[datetime]:
    """This hour and the last one; an older hour has the turn of its number since 1970."""
    recent = 2
    turn = (now.hour * 60 + now.minute) * TURNS // (24 * 60)
    first = recent + (epoch(now) // 3600 - recent - turn) % TURNS
    for back in (*range(recent), *range(first, KEPT.days * 24, TURNS)):
        yield now - timedelta(hours=back)
