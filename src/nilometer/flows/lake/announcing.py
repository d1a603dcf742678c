"""What changes announce on the bus as events of their own, beside `record.changed.v1`.

An announcement hangs on the change of a record and never on a delivery. Its id is the same each time the stream
delivers the change, so a subscriber that keeps ids acts once. `flows.publish.event_schemas` makes the schemas.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import msgspec

from nilometer.aws.eventbridge import BusEntry
from nilometer.domain.access.lockout import LOCKED_OUT, locked_out
from nilometer.domain.billing.record.changes import (
    BILLING_EVENTS,
    LIMITS_CHANGED,
    BillingChange,
    billing_changes,
    own_limits_changes,
)
from nilometer.domain.events.carried import carried_bytes
from nilometer.domain.events.reject import FLOWS, rejected_type
from nilometer.domain.lake import exact, redaction, rows
from nilometer.domain.lake.change import Change, ItemAction
from nilometer.domain.limits.reached import LIMIT_BLOCKED, THRESHOLD_REACHED, reached
from nilometer.domain.notices.webhook import WEBHOOK_DISABLED, switched_off
from nilometer.domain.store.times import rfc3339_of
from nilometer.domain.store.writes import Item
from nilometer.flows.inbox.envelope import CHANGES

_encode = msgspec.json.Encoder(decimal_format="number", order="deterministic").encode


def text(value: Any) -> bytes:
    """JSON as it travels: names sorted, decimals as numbers, and nothing that a queue refuses."""
    return carried_bytes(_encode(value))


@dataclass(frozen=True, slots=True, kw_only=True)
class AnnouncedEvent:
    """One event. `id` is the same at each delivery of its change; `subject` is the workspace."""

    type: str
    id: str
    data: Mapping[str, Any]
    subject: str | None = None


@dataclass(frozen=True, slots=True)
class Announcer:
    """What a kind of change announces: which types there are, and the events of one change."""

    types: frozenset[str]
    of: Callable[[Change], Iterable[AnnouncedEvent]]

    def entries(self, change: Change) -> Iterator[BusEntry]:
        """For the bus; nothing of what a restore copied. `LookupError` for a type that is not declared: it has no
        schema."""
        if change.is_copy:
            return
        for one in self.of(change):
            if one.type not in self.types:
                raise LookupError(f"{one.type} is not declared")
            yield bus_entry(change, one.type, exact.texts(one.data), event_id=one.id, subject=one.subject)


def bus_entry(
    change: Change,
    detail_type: str,
    data: Mapping[str, Any],
    *,
    event_id: str | None = None,
    subject: str | None = None,
) -> BusEntry:
    """A CloudEvent whose id is the change's: the same each time it is sent. `data` as `domain.lake.exact` writes it."""
    event = {
        "specversion": "1.0",
        "id": event_id or change.change_id,
        **({"subject": subject} if subject else {}),
        "source": CHANGES,
        "type": detail_type,
        "time": rfc3339_of(change.occurred_at),
        "datacontenttype": "application/json",
        "data": data,
    }
    return BusEntry(source=CHANGES, detail_type=detail_type, detail=text(event).decode())


def _rejected(change: Change) -> Iterator[AnnouncedEvent]:
    if change.action is ItemAction.INSERT:
        type_ = rejected_type(str(change.item["flow"]))
        yield AnnouncedEvent(type=type_, id=f"{change.change_id}:rejected", data=rows.reject_announcement(change.item))


def _locked_out(change: Change) -> Iterator[AnnouncedEvent]:
    if lock := locked_out(change.old, change.new):
        yield AnnouncedEvent(type=LOCKED_OUT, id=lock.id, data=_caused(asdict(lock)), subject=lock.workspace_id)


def _told(
    changes_of: Callable[[Item | None, Item | None], Iterable[BillingChange]],
) -> Callable[[Change], Iterator[AnnouncedEvent]]:
    def announced(change: Change) -> Iterator[AnnouncedEvent]:
        for told in changes_of(change.old, change.new):
            images = {"before": redaction.image(told.before), "after": redaction.image(told.after)}
            data = _caused({"workspace_id": told.workspace_id, "cause": told.cause, **images})
            yield AnnouncedEvent(type=told.type, id=told.id, data=data, subject=told.workspace_id)

    return announced


def _reached(change: Change) -> Iterator[AnnouncedEvent]:
    if told := reached(change.old, change.new):
        yield AnnouncedEvent(type=told.type, id=told.id, data=_caused(told.data), subject=told.workspace_id)


def _switched_off(change: Change) -> Iterator[AnnouncedEvent]:
    for told in switched_off(change.old, change.new):
        data = {name: value for name, value in asdict(told).items() if name != "id"}
        data["webhook_id"] = redaction.id_text(told.webhook_id)
        yield AnnouncedEvent(type=WEBHOOK_DISABLED, id=redaction.id_text(told.id), data=data, subject=told.workspace_id)


def _caused(data: Mapping[str, Any]) -> dict[str, Any]:
    """Services choose the ids of their events: one that may be an address is replaced by its hash, as in the audit."""
    cause = data["cause"]
    return {**data, "cause": None if cause is None else redaction.id_text(str(cause))}


NOTHING = Announcer(frozenset(), lambda _change: ())
REJECTS = Announcer(frozenset(map(rejected_type, FLOWS)), _rejected)
LOCKOUTS = Announcer(frozenset({LOCKED_OUT}), _locked_out)
ALERTS = Announcer(frozenset({THRESHOLD_REACHED, LIMIT_BLOCKED}), _reached)
WEBHOOKS = Announcer(frozenset({WEBHOOK_DISABLED}), _switched_off)
BILLING = Announcer(frozenset(BILLING_EVENTS), _told(billing_changes))
OWN_LIMITS = Announcer(frozenset({LIMITS_CHANGED}), _told(own_limits_changes))
