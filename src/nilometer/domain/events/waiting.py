"""A message that waits in its queue for what it builds on: written down, so that people see what SQS does not show."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from nilometer.domain.events.reject import MESSAGE_BYTES, bounded
from nilometer.domain.store import keys
from nilometer.domain.store.times import epoch, parse_rfc3339, rfc3339
from nilometer.domain.store.writes import Item, Put, Table, new_item

KIND = "waiting_message"
_KEPT = timedelta(hours=1)  # after its end, for TTL


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """What waits: one message, or `count` events that lack the same; it is a reject when `until` has come."""

    flow: str
    reason: str
    message: str
    since: datetime
    until: datetime
    event_id: str | None = None
    source: str | None = None
    type: str | None = None
    workspace_id: str | None = None
    count: int = 1


def waits(message_id: str, what: Waiting) -> Put:
    """Put again each time that the message comes and still waits."""
    named = {"event_id": what.event_id, "source": what.source, "type": what.type, "workspace_id": what.workspace_id}
    item = new_item(
        keys.waits(what.flow, message_id),
        KIND,
        flow=what.flow,
        reason=bounded(what.reason),
        message=bounded(what.message, MESSAGE_BYTES),
        since=rfc3339(what.since),
        until=rfc3339(what.until),
        expires_at=epoch(what.until + _KEPT),
        **named,
    )
    return Put(table=Table.EVENTS, item=item)


def waiting_of(item: Item) -> Waiting:
    """From its item in the events table."""
    texts: dict[str, Any] = {name: item[name] for name in ("flow", "reason", "message", *_IDENTITY)}
    return Waiting(**texts, since=parse_rfc3339(item["since"]), until=parse_rfc3339(item["until"]))


_IDENTITY = ("event_id", "source", "type", "workspace_id")
