"""Replay: events are sent again. Nothing counts twice: no flow gets an event so old that its copy would pass as new.

What if the process dies in the middle? What was published is dropped when it is published again.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from typing import TYPE_CHECKING, Any

from nilometer.aws.dynamodb import Store
from nilometer.aws.eventbridge import Bus
from nilometer.domain.store import keys
from nilometer.domain.store.writes import Table
from nilometer.domain.usage.event import OLDEST, SNAPSHOT
from nilometer.domain.usage.rebucket import MOVED
from nilometer.errors import Refused, Rejected
from nilometer.flows.lake.kinds import raw_payload
from nilometer.flows.operations.batch import KEPT
from nilometer.flows.publish.usage import Event, publish, recorded, snapshot, voided

if TYPE_CHECKING:
    from nilometer.flows.recovery.trace import FoundEvent, Sources

TOGETHER = 1_000  # rows that are looked up and published together
_MARGIN = timedelta(hours=1)  # for events in flight
_DAY = timedelta(days=1)  # TTL and clocks

REACH: Mapping[str, tuple[timedelta | None, str]] = {
    # Registers merge an old event into what they know, with or without its fact.
    "billing": (None, ""),
    "usage": (
        OLDEST - _MARGIN,
        f"older usage is refused as too_old, so that no copy of a forgotten fact counts ({OLDEST.days} days)",
    ),
    "operations": (
        KEPT - _DAY,
        f"the facts that identify a copy are kept for {KEPT.days} days; older ones would be done again",
    ),
}
"""How far back each flow may be given events again, and why no further."""


@dataclass(slots=True, kw_only=True)
class MissingUsage:
    """What a replay of usage found: rows of the lake, those without a fact, and those that are too old to count."""

    rows: int = 0
    too_old: int = 0
    missing: int = 0
    published: int = 0


def reachable(flow: str, since: datetime, *, now: datetime) -> tuple[datetime, str]:
    """The time from which on a flow may be given events again, and why it is later than asked, or nothing."""
    reach, why = REACH[flow]
    earliest = now - reach if reach else since
    return (since, "") if since >= earliest else (earliest, why)


def missing_usage(
    rows: Iterable[Mapping[str, Any]], *, store: Store, bus: Bus | None, now: datetime
) -> Iterator[MissingUsage]:
    """Publishes the usage of the lake's `rows` that have no fact: the tables were restored to an earlier time.

    Without `bus` it only counts. Yields the same count after each page. A reservation that an event settled is not
    in the lake; it ends by itself.
    """
    found, remaining = MissingUsage(), iter(rows)
    while page := list(islice(remaining, TOGETHER)):
        found.rows += len(page)
        young = [row for row in page if row["time"] >= now - OLDEST + _MARGIN]
        found.too_old += len(page) - len(young)
        events = _unknown(young, store)
        found.missing += len(events)
        if bus and events:
            found.published += publish(bus, events)
        yield found


def _unknown(rows: Iterable[Mapping[str, Any]], store: Store) -> list[Event]:
    by_key = {keys.usage_event(row["source"], row["event_id"]): row for row in rows}
    stored = store.batch_get(Table.EVENTS, by_key, consistent=True, attributes=("kind",))
    return [event_again(row) for key, row in by_key.items() if key not in stored]


def event_again(row: Mapping[str, Any]) -> Event:
    """With the same content as it had, so that a copy of the original is a duplicate."""
    identity = {"source": row["source"], "workspace_id": row["workspace_id"], "time": row["time"]}
    if row["voids_id"]:
        return voided(row["event_id"], **identity, voids_id=row["voids_id"], voids_source=row["voids_source"])
    make = snapshot if row["type"] == SNAPSHOT else recorded
    return make(
        row["event_id"],
        **identity,
        meter=row["meter"],
        quantity=row["quantity"].normalize(),
        unit=row["unit"],
        dimensions=json.loads(row["dimensions"] or "{}"),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredEvent:
    """One event with the content that it had: `body` is for the webhook, `usage` for the bus; one of them is there.

    `known` says whether its fact is there, so that its copy is a duplicate.
    """

    name: str
    known: bool
    body: bytes | None = None
    usage: Event | None = None


def stored_event(name: str, sources: Sources, *, account: str | None = None) -> StoredEvent:
    """The event that is called `evt_1`, `SOURCE#ID`, or by an id alone that is in the lake.

    `Rejected("unknown_event")` when neither tables nor lake have it; `Refused` when what they have is not the whole
    event, or when its flow could not tell a copy from a new event any more.
    """
    from nilometer.flows.recovery.trace import find  # noqa: PLC0415  # it loads the lake, which no help needs

    found = find(name, sources, account)
    if found.item is None:
        raise Rejected(
            "unknown_event",
            f"neither tables nor lake have {name}; `nilometer trace {name}` says where it stopped, and "
            "`nilometer rejects resend` sends again what was refused",
        )
    if found.identity.kind == "stripe_event":
        return _stripe_event(name, found, sources)
    if found.identity.kind == "usage_event":
        return _usage_event(name, found, sources)
    raise Refused(f"of {name} only its changes are stored, not the event: ask the service that sent it")


def _stripe_event(name: str, found: FoundEvent, sources: Sources) -> StoredEvent:
    if found.fact is None:
        raise Refused(
            f"the fact of {name} is gone, and the lake keeps the event redacted: sent again it would take plans and "
            "payment methods away. `stripe events resend` or `nilometer backfill events` bring it from Stripe (30 days)"
        )
    return StoredEvent(name=name, known=True, body=raw_payload(found.fact, sources.objects))


def _usage_event(name: str, found: FoundEvent, sources: Sources) -> StoredEvent:
    """From the lake, without the rows that moved it to another period."""
    identity = (found.identity.source, found.identity.event_id)
    named = [row for row in sources.ledger.usage_event(identity[1]) if (row["source"], row["event_id"]) == identity]
    row = next((row for row in named if row["type"] != MOVED), None)
    if row is None:
        raise Refused(f"{name} is not in the lake yet; try again after `nilometer wait`")
    earliest, why = reachable("usage", row["time"], now=sources.now)
    if earliest > row["time"]:
        raise Refused(f"{name} is too old: {why}")
    return StoredEvent(name=name, known=found.fact is not None, usage=event_again(row))
