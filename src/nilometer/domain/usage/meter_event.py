"""What Stripe gets of a counter: deltas, each fixed before it is sent.

    unsent ──▶ pending (identifier, value and timestamp are stored) ──▶ sent

The outbox is the index: in it as long as the counter `changed` since it was read last, a delta is pending, or one
that was sent is `refused` (`domain.usage.meter_report`). Whoever drains takes `changed` away before he reads the
counter, so that a change after that puts it back.

A pending delta is sent again under its own identifier until Stripe has taken it or says that it has it. Stripe says
copies apart for at least 24 hours, so a pending delta that is older must be looked at by a person: `overdue`.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from nilometer.domain.store import keys
from nilometer.domain.store.times import epoch, parse_rfc3339, rfc3339
from nilometer.domain.store.writes import Absent, Check, Item, Key, Put, Table, Update, Version, Write

DEDUPLICATED = timedelta(hours=24)
"""Source: https://docs.stripe.com/api/billing/meter-event/create (`identifier`)."""

TAKEN = timedelta(days=34)
"""Stripe takes timestamps of the last 35 days; one is left for sending. Source: as above (`timestamp`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Metered:
    """One counter of one period, as Stripe should know it."""

    workspace_id: str
    meter: str
    period_start: str
    period_end: str

    @property
    def key(self) -> Key:
        """Its item in the records table: what was sent, and the delta that is pending."""
        return keys.metered(self.workspace_id, self.meter, self.period_start)


@dataclass(frozen=True, slots=True, kw_only=True)
class MeterEvent:
    """One delta: always the same content under one identifier."""

    event_name: str
    customer_id: str
    value: Decimal
    identifier: str
    timestamp: int


def pending_of(stored: Item | None) -> MeterEvent | None:
    """The delta that was fixed and perhaps sent; None when nothing is pending."""
    pending = (stored or {}).get("pending")
    return MeterEvent(**{**pending, "value": Decimal(pending["value"])}) if pending else None


def metered_of(item: Item) -> Metered:
    """From its item in the records table."""
    return Metered(**{name: item[name] for name in ("workspace_id", "meter", "period_start", "period_end")})


def is_overdue(stored: Item, now: datetime) -> bool:
    """Older than Stripe's memory, less an hour: sending it again might count it twice."""
    return now > parse_rfc3339(stored["pending_since"]) + DEDUPLICATED - timedelta(hours=1)


def is_too_old(of: Metered, now: datetime) -> bool:
    """Stripe takes no more usage of its period."""
    return parse_rfc3339(of.period_end) < now - TAKEN


def touched(of: Metered, *, now: datetime, received: Decimal = Decimal(0), cause: str | None = None) -> Update:
    """Its counter changed: into the outbox. Cancels what a drain decides that has not seen it. `received` was sent in
    another period before the usage moved to this one (`handed_over`)."""
    first = {"kind": "metered", "number": 0, "actor": None} | ({} if received else {"sent": 0})
    named = {"workspace_id": of.workspace_id, "meter": of.meter, "period_start": of.period_start, "cause": cause}
    return Update(
        table=Table.RECORDS,
        key=of.key,
        add={"version": 1} | ({"sent": received} if received else {}),
        set={**named, "period_end": of.period_end, "changed": True, "updated_at": rfc3339(now), **_index(of)},
        set_once=first,
    )


def handed_over(
    stored: Item | None, of: Metered, to: Metered, *, used: Decimal, amount: Decimal, cause: str, now: datetime
) -> list[Write]:
    """With `amount` that moves from the counter of one period to that of another moves what Stripe has of it, so that
    it is not sent again. In the transaction that moves it.

    `stored` is of the old period, has no pending delta, and was read before `used`, which is its counter before the
    move. Its version rises also when Stripe has nothing of the amount: a drain that has read the counter is cancelled.
    """
    if stored is None:
        return [Check(table=Table.RECORDS, key=of.key, expected=Absent())]
    left = max(used - amount, Decimal(0))
    told = max(min(amount, Decimal(stored["sent"]) - left), Decimal(0))
    old = Update(
        table=Table.RECORDS,
        key=of.key,
        add={"version": 1, "sent": -told},
        set={"updated_at": rfc3339(now), "cause": cause},
        expected=Version(int(stored["version"])),
    )
    return [old, touched(to, now=now, received=told, cause=cause)] if told else [old]


def begun(stored: Item, of: Metered, *, now: datetime) -> Put:
    """Before its counter is read. Who dies then leaves `reading`, so that another one reads it."""
    return _put(stored, of, now=now, changed=False, due=True, reading=True)


def rests(stored: Item) -> bool:
    """In the outbox only because a person has to decide on what Stripe refused."""
    due = stored["changed"] or stored.get("reading") or "pending" in stored
    return bool(stored.get("refused")) and not due


def settled(stored: Item, of: Metered, *, now: datetime, unsent: Decimal | None = None) -> Put:
    """Stripe has all, or needs none of it: out of the outbox until its counter changes again. `unsent` is what it takes
    no more."""
    said = {} if unsent is None else {"unsent": unsent}
    return _put(stored, of, now=now, due=bool(stored["changed"]), **said)


def next_delta(
    stored: Item, of: Metered, *, used: Decimal, event_name: str, customer_id: str, scope: str, now: datetime
) -> Put | None:
    """The delta to be sent, as pending for `scope`; `None` when Stripe has all. Less than was sent waits until more is
    used.

    Its timestamp is in the period that it counts in, also when the period is over, or begins in a moment: usage may be
    five minutes ahead, and Stripe takes timestamps that are.
    """
    delta = used - Decimal(stored["sent"])
    if delta <= 0:
        return None
    number = int(stored["number"]) + 1
    start, end = parse_rfc3339(of.period_start), parse_rfc3339(of.period_end) - timedelta(seconds=1)
    pending = {
        "event_name": event_name,
        "customer_id": customer_id,
        "value": delta,
        "identifier": _identifier(of, number),
        "timestamp": epoch(max(start, min(now, end))),
    }
    since = {"pending_since": rfc3339(now), "pending_scope": scope}
    return _put(stored, of, now=now, due=True, number=number, pending=pending, **since)


def restated(stored: Item, of: Metered, *, event_name: str, customer_id: str, scope: str, now: datetime) -> Put | None:
    """The pending delta for the meter and customer of today; `None` when it is for them.

    Under its identifier: if Stripe has taken it already, it answers so, and nothing counts twice.
    """
    names = {"event_name": event_name, "customer_id": customer_id}
    if names.items() <= stored["pending"].items():
        return None
    return _put(stored, of, now=now, due=True, pending={**stored["pending"], **names}, pending_scope=scope)


def renewed(stored: Item, of: Metered, *, now: datetime) -> Put:
    """Stripe does not have the pending delta, says who has looked: it may be sent for another day."""
    return _put(stored, of, now=now, due=True, pending_since=rfc3339(now))


def sent(stored: Item, of: Metered, *, now: datetime) -> Put:
    """Stripe has the pending delta, and so all of it unless the counter changed meanwhile."""
    total = Decimal(stored["sent"]) + Decimal(stored["pending"]["value"])
    rest = {name: value for name, value in stored.items() if not name.startswith("pending")}
    return _put({**rest, "sent": total}, of, now=now, due=bool(stored["changed"]))


def amended(stored: Item, of: Metered, *, now: datetime, **changes: Any) -> Put:
    """Other attributes; in the outbox as long as there is a reason. A counter that is to be read stays so."""
    after = {**stored, **changes}
    reading = {"reading": True} if stored.get("reading") else {}
    due = bool(after["changed"] or reading or "pending" in after)
    return _put(stored, of, now=now, due=due, **changes, **reading)


def _put(stored: Item, of: Metered, *, now: datetime, due: bool, **changes: Any) -> Put:
    version = int(stored["version"])
    kept = {name: value for name, value in stored.items() if name not in {"gsi1pk", "gsi1sk", "reading"}}
    named = {"period_end": of.period_end, "version": version + 1, "updated_at": rfc3339(now), "cause": None}
    item = {**kept, **changes, **named}
    indexed = _index(of) if due or item.get("refused") else {}
    return Put(table=Table.RECORDS, item={**item, **indexed}, expected=Version(version))


def _index(of: Metered) -> dict[str, str]:
    return {"gsi1pk": keys.OUTBOX, "gsi1sk": f"{of.key.pk}#{of.key.sk}"}


def _identifier(of: Metered, number: int) -> str:
    """The same for every attempt at this delta, on any machine."""
    content = "\0".join([of.workspace_id, of.meter, of.period_start, str(number)])
    return hashlib.sha256(content.encode()).hexdigest()[:40]
