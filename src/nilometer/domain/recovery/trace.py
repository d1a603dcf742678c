"""The way of one event: where it was when, what it changed, and what is not found of it.

happened ─▶ arrived ─▶ stored ─▶ changed (records) ─▶ announced (bus) ─▶ told (people)
              │          └──────────────────────────────────────────────▶ in the lake
              ├▶ waits (its workspace is not known)
              ├▶ rejected (wrong for good)
              └▶ dead letter (failed again and again)
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from nilometer.domain.lake.change import Change
from nilometer.domain.recovery.dead_letter import DeadLetter
from nilometer.domain.store import keys
from nilometer.domain.store.times import epoch, from_epoch, parse_rfc3339, rfc3339
from nilometer.domain.store.writes import Item, Key
from nilometer.domain.usage.event import KEPT

PROMPT = timedelta(minutes=5)
"""Later than this after it was stored an event should be in the lake."""


class TraceStage(StrEnum):
    """A stage of an event. The order here is the order of hops of the same time."""

    HAPPENED = "happened"
    ARRIVED = "arrived"
    WAITS = "waits"
    REJECTED = "rejected"
    DEAD = "dead letter"
    STORED = "stored"
    CHANGED = "changed"
    ANNOUNCED = "announced"
    TOLD = "told"
    IN_LAKE = "in the lake"


_ORDER = {place: number for number, place in enumerate(TraceStage)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Hop:
    """`at` is exact to the second or better."""

    place: TraceStage
    at: datetime
    what: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """What is not found, and what that means."""

    place: TraceStage
    meaning: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TracedEvent:
    """One event. Stripe's has an account, one of a service a source; a lake alone may not know the source."""

    kind: str  # stripe_event, usage_event, operation
    event_id: str
    source: str | None

    @property
    def causes(self) -> tuple[str, ...]:
        """How records name it as their cause: by its id, a notification with its source before it."""
        return (self.event_id, f"{self.source}\n{self.event_id}") if self.source else (self.event_id,)


@dataclass(frozen=True, slots=True, kw_only=True)
class Audited:
    """A change of a record, with the redacted images of the audit, and when the lake had it."""

    change: Change
    recorded_at: datetime

    @property
    def cause(self) -> str | None:
        """The id of the event that the record names as its last cause; None when no event caused the change."""
        return self.change.item.get("cause")

    @property
    def batch_at(self) -> int:
        """The second in which the batch began that made the change; 0 for a removal."""
        updated_at = (self.change.new or {}).get("updated_at")
        return epoch(parse_rfc3339(updated_at)) if updated_at else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """In the order of time; `known` when any trace of the event is left."""

    identity: TracedEvent
    hops: tuple[Hop, ...]
    gaps: tuple[Gap, ...]

    @property
    def known(self) -> bool:
        """False when neither the tables, the queues nor the lake hold anything of the event."""
        return bool(self.hops)


def in_order(hops: Iterable[Hop]) -> tuple[Hop, ...]:
    """By the second, which is as exact as some times are, then by place."""
    return tuple(sorted(hops, key=lambda hop: (epoch(hop.at), _ORDER[hop.place], hop.at)))


def stored_at(fact: Item) -> datetime:
    """When the batch of this fact began, to the second: what it is kept for counts from then."""
    return from_epoch(int(fact["expires_at"])) - KEPT


def fact_hops(fact: Item) -> Iterator[Hop]:
    """Of a fact of any kind."""
    happened = parse_rfc3339(fact["time"]) if "time" in fact else from_epoch(int(fact["created"]))
    yield Hop(place=TraceStage.HAPPENED, at=happened, what=_what(fact))
    yield Hop(place=TraceStage.ARRIVED, at=parse_rfc3339(fact["received_at"]), what=_arrived(fact))
    until = from_epoch(int(fact["expires_at"]))
    yield Hop(place=TraceStage.STORED, at=stored_at(fact), what=f"as a fact, kept until {until:%Y-%m-%d}")


def row_hops(row: Mapping[str, Any], table: str, *, whole: bool) -> Iterator[Hop]:
    """Of a row of the lake; `whole` when no fact says when it happened and arrived."""
    if whole:
        yield Hop(place=TraceStage.HAPPENED, at=row.get("time") or row["created_at"], what=_what(row))
        yield Hop(place=TraceStage.ARRIVED, at=row["received_at"], what=_arrived(row))
    yield Hop(place=TraceStage.IN_LAKE, at=row["recorded_at"], what=f"a row of {table}")


def void_hop(row: Mapping[str, Any]) -> Hop:
    """Of another event, which took this one back."""
    return Hop(place=TraceStage.CHANGED, at=row["received_at"], what=f"taken back by {row['source']}#{row['event_id']}")


def changed_hop(audited: Audited, identity: TracedEvent) -> Hop:
    """The change of a record. One with another cause was written together with later events of its batch."""
    change = audited.change
    of_batch = "" if audited.cause in identity.causes else f", in a batch that ended with {audited.cause}"
    what = f"{change.action} {change.kind} {change.key.pk} {change.key.sk}{of_batch}"
    return Hop(place=TraceStage.CHANGED, at=from_epoch(change.occurred_at), what=what)


def audit_hops(audited: Iterable[Audited]) -> Iterator[Hop]:
    """Rows that came into the lake together are one hop."""
    for at, count in Counter(one.recorded_at for one in audited).items():
        yield Hop(place=TraceStage.IN_LAKE, at=at, what="a row of audit" if count == 1 else f"{count} rows of audit")


def announced_hop(audited: Audited, event_type: str) -> Hop:
    """The event that the change of a record caused on the bus, dated by the change."""
    return Hop(place=TraceStage.ANNOUNCED, at=from_epoch(audited.change.occurred_at), what=event_type)


def told_hop(audited: Audited) -> Hop:
    """A notification of a person, with its topic, without its text."""
    notice = audited.change.item
    what = f"{notice['topic']} to {notice['user_id']}"
    return Hop(place=TraceStage.TOLD, at=from_epoch(audited.change.occurred_at), what=what)


def reject_hop(reject: Item) -> Hop:
    """The message in the reject lane: flow, reason and our own sentence, never the payload."""
    what = f"{reject['flow']}: {reject['reason']}: {reject['message']}"
    return Hop(place=TraceStage.REJECTED, at=parse_rfc3339(reject["received_at"]), what=what)


def waiting_hop(item: Item) -> Hop:
    """A usage event that is kept until its workspace is created."""
    what = f"until workspace {item['workspace_id']} is known"
    return Hop(place=TraceStage.WAITS, at=parse_rfc3339(item["received_at"]), what=what)


def dead_hop(letter: DeadLetter) -> Hop:
    """The dead letter in its queue, at its last failure or, when no log names one, when it was sent."""
    what = f"{letter.queue} {letter.id}: {letter.reason or 'no reason is known'}"
    return Hop(place=TraceStage.DEAD, at=letter.last_failed_at or letter.sent_at, what=what)


def of_batch(changes: Iterable[Audited], at: datetime) -> list[Audited]:
    """Each record's first change by a batch that began then. A batch writes a record once for all its events, and
    names the last of them as the cause."""
    found: dict[Key, Audited] = {}
    for one in changes:
        if one.batch_at == epoch(at):
            found.setdefault(one.change.key, one)
    return list(found.values())


def touched(kind: str, item: Mapping[str, Any]) -> tuple[str, tuple[str, ...]] | None:
    """Partition and starts of the sort keys of the records that an event changes in a batch with others."""
    if kind == "usage_event" and item.get("meter"):
        starts = (_text(item["period_start"]), f"DAY#{_text(item['time'])[:10]}")
        counters = [keys.counters(item["workspace_id"], item["meter"], start) for start in starts]
        return counters[0].pk, tuple(counter.sk for counter in counters)
    if kind == "stripe_event" and item.get("customer_id"):
        return keys.customer(item["account"], item["livemode"], item["customer_id"]), ("",)
    return None


def _text(instant: str | datetime) -> str:
    """A fact has texts, a row of the lake times."""
    return instant if isinstance(instant, str) else rfc3339(instant)


def gaps(
    hops: Iterable[Hop], identity: TracedEvent, *, fact: Item | None, landed: bool, now: datetime
) -> Iterator[Gap]:
    """What is not there, as far as it should be. `landed`: the event has a row of its own in the lake."""
    places = {hop.place for hop in hops}
    if not places:
        yield Gap(place=TraceStage.ARRIVED, meaning=_NEVER[identity.kind])
    elif fact is None:
        yield from () if places & _STOPPED else (Gap(place=TraceStage.STORED, meaning=_expired(identity)),)
    elif fact["kind"] in _MARKERS:
        yield Gap(place=TraceStage.CHANGED, meaning=_MARKERS[fact["kind"]])
    else:
        if identity.kind != "operation" and not landed:
            yield Gap(place=TraceStage.IN_LAKE, meaning=_LATE if now - stored_at(fact) > PROMPT else _ON_ITS_WAY)
        if not places & {TraceStage.CHANGED, TraceStage.TOLD}:
            yield Gap(place=TraceStage.CHANGED, meaning=_UNCHANGED[identity.kind])


def _arrived(item: Mapping[str, Any]) -> str:
    """Stripe's events carry the bus's time, others the function's."""
    return "on the bus" if "livemode" in item else "at its function"


def _what(item: Mapping[str, Any]) -> str:
    """Type and what it is about; never a payload."""
    about = [item.get("meter"), item.get("object_id"), item.get("customer_id"), item.get("workspace_id")]
    return " ".join([str(item.get("type") or item["kind"]), *(str(one) for one in about if one)])


def _expired(identity: TracedEvent) -> str:
    if identity.kind == "operation" and identity.source is None:
        return "a fact of a service is found by its source too: nilometer trace SOURCE#ID"
    return f"facts live {KEPT.days} days; only the lake still has it"


_STOPPED = {TraceStage.REJECTED, TraceStage.DEAD, TraceStage.WAITS}
_MARKERS = {
    "usage_tombstone": "the event itself has not come, its void has: when it comes it will count nothing",
    "usage_void": "it took nothing back: what it names has not come, or was taken back before",
}
_NEVER = {
    "stripe_event": "it never arrived, is still in a queue (nilometer status), or belongs to another --account; "
    "`nilometer backfill events` fetches what Stripe sent in the last 30 days",
    "usage_event": "it never arrived or is still in a queue (nilometer status); sent again, its id counts once",
    "operation": "it never arrived, is still in a queue (nilometer status), or changed nothing; name its source too: "
    "nilometer trace SOURCE#ID",
}
_ON_ITS_WAY = "pending: the relay and the lake take some seconds"
_LATE = "overdue: see nilometer status, nilometer dlq list, and the runbook's Iterator age and Stream failures"
_UNCHANGED = {
    "stripe_event": "no record changed: it has no effect, was older than what was known, or is not in the lake yet",
    "usage_event": "no counter changed with it in the lake: its void came first, or the change is not there yet",
    "operation": "no record changed: older than what was known, or not in the lake yet",
}
