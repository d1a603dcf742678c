"""Usage to Stripe's meters: the outbox of deltas, drained in order, one at a time for each counter.

What if the process dies before or after sending? The delta was stored before: it is sent again under its identifier,
and Stripe says that it has it. What if two drain at once? Both send the same delta, and one of them marks it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from nilometer.aws.dynamodb import Store
from nilometer.domain import keys
from nilometer.domain.meter import Aggregation
from nilometer.domain.meter_event import Metered, MeterEvent, is_overdue, next_delta, pending_of, sent
from nilometer.domain.period import period_at
from nilometer.domain.times import rfc3339
from nilometer.domain.writes import Item, Put, Table
from nilometer.errors import Cancelled, Refused
from nilometer.flows.counters import used_in
from nilometer.flows.known import Known

ADDED = frozenset({Aggregation.SUM, Aggregation.COUNT})
"""Only amounts have deltas; a level is told by another kind of meter at Stripe."""


class MeterEvents(Protocol):
    """Stripe's meter events, or a recording of them."""

    def send(self, event: MeterEvent) -> None:
        """Returns when Stripe has it, from this call or an earlier one; `Unavailable` when nobody can tell."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Drained:
    """`sent` deltas were taken by Stripe."""

    sent: int


def drain(known: Known, stripe: MeterEvents, workspace_id: str, meter: str, *, at: datetime, now: datetime) -> Drained:
    """Tells Stripe what was used in the period of `at` and it does not have. Repeat it for the period before until
    its late usage has come. `Refused` when a delta could not be sent for a day: it may or may not be at Stripe."""
    tenant = known.tenants([workspace_id]).get(workspace_id)
    found = known.meters([meter]).get(meter)
    customer_id = (tenant.billing or {}).get("customer_id") if tenant else None
    if not tenant or not customer_id or not found or not found.stripe_event_name or found.aggregation not in ADDED:
        return Drained(sent=0)
    period = period_at(tenant.billing, at)
    of = Metered(
        workspace_id=workspace_id, meter=meter, period_start=rfc3339(period.start), period_end=rfc3339(period.end)
    )
    earlier = _send_pending(known.store, stripe, of, now)
    used = used_in(known.store, workspace_id, found, of.period_start, consistent=True)
    put = next_delta(
        _stored(known.store, of), of, used=used, event_name=found.stripe_event_name, customer_id=customer_id, now=now
    )
    if put is None or not _commit(known.store, put):
        return Drained(sent=earlier)
    return Drained(sent=earlier + _send_pending(known.store, stripe, of, now))


def _send_pending(store: Store, stripe: MeterEvents, of: Metered, now: datetime) -> int:
    stored = _stored(store, of)
    event = pending_of(stored)
    if stored is None or event is None:
        return 0
    if is_overdue(stored, now):
        raise Refused(
            f"{event.identifier} of {of.workspace_id} waits for a day; look for it at Stripe before it is sent"
        )
    stripe.send(event)
    return int(_commit(store, sent(stored, of, now=now)))


def _stored(store: Store, of: Metered) -> Item | None:
    return store.get(Table.RECORDS, keys.metered(of.workspace_id, of.meter, of.period_start), consistent=True)


def _commit(store: Store, put: Put) -> bool:
    """False when somebody else did it."""
    try:
        store.commit([put])
    except Cancelled:
        return False
    return True
