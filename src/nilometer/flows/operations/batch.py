"""Operations: what internal services publish about workspaces, fact and effect in one transaction.

An event type reports a deed (`flows.operations.types`), which says what it reads and what it decides.

What if the process dies before the answer? The event comes again and its fact is found. What if a
another worker applies another event to the same record first? The record's version has moved: read again.
What if a rule forbids it? A later event may permit it, so it is delivered again for a while.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import msgspec

from nilometer.aws.dynamodb import Store
from nilometer.aws.s3 import Objects
from nilometer.domain.acts.act import event_act
from nilometer.domain.acts.deed import Deed
from nilometer.domain.events.cloudevents import CloudEvent, check_context, check_not_ahead
from nilometer.domain.events.outcome import Message, Outcome, Result
from nilometer.domain.store import keys
from nilometer.domain.store.times import epoch, parse_rfc3339, rfc3339
from nilometer.domain.store.writes import Absent, Put, Table, new_item
from nilometer.errors import Rejected
from nilometer.flows.inbox.envelope import CloudEventWire, decode, read
from nilometer.flows.inbox.parcel import Parcel, arrived_at
from nilometer.flows.inbox.races import retrying
from nilometer.flows.inbox.settle import inbox, settle
from nilometer.flows.inbox.wire import Data, actor_of, deed_of
from nilometer.flows.operations.types import TYPES, data_of, has_workspace
from nilometer.flows.people.acting import reported

KEPT = timedelta(days=40)
SEE = "see events/schemas"


@dataclass(frozen=True, slots=True)
class _ArrivedDeed:
    """One event: the deed that it reports, and its data as the fact keeps them."""

    event: CloudEvent
    data: Data
    deed: Deed[Any]


def handle(messages: Sequence[Message], *, store: Store, objects: Objects, now: datetime) -> list[Result]:
    """One result a message, in their order; whatever one holds, the others do not notice."""
    into = inbox("operations", store=store, objects=objects, now=now)
    return settle(messages, into, open=lambda message: _open(message, now), decide=partial(_decide, store, now))


def _open(message: Message, now: datetime) -> _ArrivedDeed:
    arrived = _decode(message.body)
    at = arrived_at(message.body, sent_at=message.sent_at, now=now)
    check_not_ahead(arrived.event.time, arrival=at)
    return arrived


def _decide(store: Store, now: datetime, parcels: Sequence[Parcel[_ArrivedDeed]]) -> None:
    for parcel in parcels:
        event = parcel.content.event
        parcel.fields |= {"event_id": event.id, "source": event.source, "type": event.type}
        parcel.settle(retrying(partial(_commit, parcel.content, store, now)))


def _commit(arrived: _ArrivedDeed, store: Store, now: datetime) -> Outcome:
    """Fact and effect, both or neither. `Cancelled` when somebody was faster."""
    fact = _fact(arrived, now)
    seen = store.get(Table.EVENTS, fact.key, consistent=True)
    if seen:
        if seen["payload_hash"] != fact.item["payload_hash"]:
            raise Rejected("id_reuse", "this source and id came before with another payload; give each fact its own id")
        return Outcome.DUPLICATE
    act = event_act(arrived.event, actor=actor_of(type(arrived.deed), arrived.data), now=now)
    store.commit([fact, *reported(store, act, arrived.deed)])
    return Outcome.ACCEPTED


def _fact(arrived: _ArrivedDeed, now: datetime) -> Put:
    event, data = arrived.event, msgspec.to_builtins(arrived.data)
    key = keys.operation(event.source, event.id)
    content = [event.type, event.subject, rfc3339(event.time), data]
    item = new_item(
        key,
        "operation",
        event_id=event.id,
        source=event.source,
        type=event.type,
        workspace_id=event.subject if has_workspace(type(arrived.deed)) else None,
        time=rfc3339(event.time),
        data=data,
        payload_hash=hashlib.sha256(msgspec.json.encode(content, order="deterministic")).hexdigest(),
        received_at=rfc3339(now),
        expires_at=epoch(max(event.time, now) + KEPT),
    )
    return Put(table=Table.EVENTS, item=item, expected=Absent())


def _decode(body: str) -> _ArrivedDeed:
    envelope = decode(body)
    wire = read(envelope.detail, CloudEventWire, SEE)
    check_context(specversion=wire.specversion, event_id=wire.id, source=wire.source, subject=wire.subject)
    if wire.type not in TYPES:
        raise Rejected("invalid_schema", f"type {wire.type!r} is none of {', '.join(TYPES)}")
    deed = TYPES[wire.type]
    if has_workspace(deed) and not wire.subject:
        raise Rejected("invalid_schema", "subject is missing; write the workspace's id")
    event = CloudEvent(
        id=wire.id, source=wire.source, type=wire.type, subject=wire.subject, time=parse_rfc3339(wire.time)
    )
    data = read(wire.data, data_of(wire.type), SEE)
    return _ArrivedDeed(event, data, deed_of(deed, data))
