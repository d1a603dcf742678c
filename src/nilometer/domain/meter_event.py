"""What Stripe is told of a counter: deltas, each fixed before it is sent.

    unsent ──▶ pending (identifier, value and timestamp are stored) ──▶ sent

A pending delta is sent again under its own identifier until Stripe has taken it or says that it has it. Stripe tells
copies apart for at least 24 hours, so a pending delta that is older must be looked at by a person: `overdue`.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from nilometer.domain import keys
from nilometer.domain.times import epoch, parse_rfc3339, rfc3339
from nilometer.domain.writes import Item, Put, Table, version_of

DEDUPLICATED = timedelta(hours=24)
"""Source: https://docs.stripe.com/api/billing/meter-event/create (`identifier`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Metered:
    """One counter of one period, as Stripe should know it."""

    workspace_id: str
    meter: str
    period_start: str
    period_end: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MeterEvent:
    """One delta: always the same content under one identifier."""

    event_name: str
    customer_id: str
    value: Decimal
    identifier: str
    timestamp: int


def pending_of(stored: Item | None) -> MeterEvent | None:
    pending = (stored or {}).get("pending")
    return MeterEvent(**{**pending, "value": Decimal(pending["value"])}) if pending else None


def is_overdue(stored: Item, now: datetime) -> bool:
    """Older than Stripe's memory, less an hour: sending it again might count it twice."""
    return now > parse_rfc3339(stored["pending_since"]) + DEDUPLICATED - timedelta(hours=1)


def next_delta(
    stored: Item | None, of: Metered, *, used: Decimal, event_name: str, customer_id: str, now: datetime
) -> Put | None:
    """The delta to be sent, as pending; `None` when Stripe has all. Less than was sent waits until more is used.

    Its timestamp lies in the period that it counts in, also when the period is over.
    """
    delta = used - Decimal(stored["sent"] if stored else 0)
    if delta <= 0:
        return None
    number = int(stored["number"]) + 1 if stored else 1
    end = parse_rfc3339(of.period_end) - timedelta(seconds=1)
    pending = {
        "event_name": event_name,
        "customer_id": customer_id,
        "value": delta,
        "identifier": _identifier(of, number),
        "timestamp": epoch(min(now, end)),
    }
    return _put(stored, of, sent=used - delta, number=number, now=now, pending=pending)


def sent(stored: Item, of: Metered, *, now: datetime) -> Put:
    """Stripe has the pending delta."""
    total = Decimal(stored["sent"]) + Decimal(stored["pending"]["value"])
    return _put(stored, of, sent=total, number=int(stored["number"]), now=now, pending=None)


def _put(stored: Item | None, of: Metered, *, sent: Decimal, number: int, now: datetime, pending: Item | None) -> Put:
    key = keys.metered(of.workspace_id, of.meter, of.period_start)
    item = {
        "pk": key.pk,
        "sk": key.sk,
        "kind": "metered",
        "version": int(stored["version"]) + 1 if stored else 1,
        "workspace_id": of.workspace_id,
        "meter": of.meter,
        "period_start": of.period_start,
        "period_end": of.period_end,
        "sent": sent,
        "number": number,
        **({"pending": pending, "pending_since": rfc3339(now)} if pending else {}),
        "updated_at": rfc3339(now),
        "cause": None,
        "actor": None,
    }
    return Put(table=Table.RECORDS, item=item, expected=version_of(stored))


def _identifier(of: Metered, number: int) -> str:
    """The same for every attempt at this delta, on any machine."""
    content = "\0".join([of.workspace_id, of.meter, of.period_start, str(number)])
    return hashlib.sha256(content.encode()).hexdigest()[:40]
