"""Operations: what internal services publish about workspaces, fact and effect in one transaction.

An event type is one row (`flows.operation_types`): its data, the records that it reads, what it decides.

What if the process dies before the answer? The event comes again and its fact is found. What if a
slow twin applies another event to the same record first? The record's version has moved: read again.
What if a rule forbids it? Another event may be on its way that permits it, so it comes again for a while.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import msgspec

from nilometer.aws.dynamodb import Store
from nilometer.aws.s3 import Objects
from nilometer.domain.events.cloudevents import CloudEvent, check_context, check_not_ahead
from nilometer.domain.events.outcome import Message, Outcome, Result
from nilometer.domain.people.fields import Change, check_same, decide, meter_change, workspace_change
from nilometer.domain.store import keys
from nilometer.domain.store.times import epoch, parse_rfc3339, rfc3339
from nilometer.domain.store.writes import Absent, Item, Key, Put, Table, Write, new_item
from nilometer.errors import Rejected
from nilometer.flows.inbox.envelope import CloudEventWire, decode, read
from nilometer.flows.inbox.identity import arrived_at
from nilometer.flows.inbox.parcel import Parcel
from nilometer.flows.inbox.races import retrying
from nilometer.flows.inbox.settle import inbox, settle
from nilometer.flows.inbox.types import Operation, OperationType, OperationTypes, Stored
from nilometer.flows.operations import access as access_operations
from nilometer.flows.operations import billing as billing_operations
from nilometer.flows.operations import datasets as dataset_operations
from nilometer.flows.operations import flags as flag_operations
from nilometer.flows.operations import limits as limit_operations
from nilometer.flows.operations import notifications as notification_operations
from nilometer.flows.operations import onboarding as onboarding_operations
from nilometer.flows.operations import people as people_operations
from nilometer.flows.operations import policies as policy_operations
from nilometer.flows.operations import workspaces as workspace_operations

KEPT = timedelta(days=40)
SEE = "see events/schemas"

TYPES: OperationTypes = {
    **workspace_operations.TYPES,
    **people_operations.TYPES,
    **access_operations.TYPES,
    **notification_operations.TYPES,
    **policy_operations.TYPES,
    **flag_operations.TYPES,
    **dataset_operations.TYPES,
    **limit_operations.TYPES,
    **onboarding_operations.TYPES,
    **billing_operations.TYPES,
}


@dataclass(frozen=True, slots=True)
class _Arrived:
    operation: Operation
    type: OperationType


def handle(messages: Sequence[Message], *, store: Store, objects: Objects, now: datetime) -> list[Result]:
    """One result a message, in their order; whatever one holds, the others do not notice."""
    into = inbox("operations", store=store, objects=objects, now=now)
    return settle(messages, into, open=lambda message: _open(message, now), decide=partial(_decide, store, now))


def create_workspace(store: Store, workspace_id: str, *, name: str, now: datetime, actor: str | None) -> Item:
    """The workspace's record. Doing it again changes nothing; `Refused` when it exists with another name."""
    given = {"name": name}
    change = workspace_change(workspace_id, creates=True, given=given, stamp=rfc3339(now), cause=None, actor=actor)
    return _create(store, change, now)


def create_meter(
    store: Store,
    slug: str,
    *,
    unit: str,
    aggregation: str,
    now: datetime,
    actor: str | None,
    dimensions: Sequence[str] = (),
    stripe_event_name: str | None = None,
) -> Item:
    """The meter's record. Doing it again changes nothing; `Refused` when it exists and differs."""
    told = {"stripe_event_name": stripe_event_name} if stripe_event_name else {}
    given = {"unit": unit, "aggregation": aggregation, "dimensions": tuple(dimensions), **told}
    change = meter_change(slug, creates=True, given=given, stamp=rfc3339(now), cause=None, actor=actor)
    return _create(store, change, now)


def update_meter(store: Store, slug: str, given: Mapping[str, Any], *, now: datetime, actor: str | None) -> Item:
    """The meter's record with `given`: dimensions, active, stripe_event_name, fail_open. `Unavailable` for none."""
    change = meter_change(slug, creates=False, given=given, stamp=rfc3339(now), cause=None, actor=actor)

    def attempt() -> Item:
        stored = store.get(Table.RECORDS, change.key, consistent=True)
        put = decide(stored, change, now=now)
        store.commit([put] if put else [])
        return put.item if put else stored or {}

    return retrying(attempt)


def _create(store: Store, change: Change, now: datetime) -> Item:
    def attempt() -> Item:
        stored = store.get(Table.RECORDS, change.key, consistent=True)
        if stored:
            check_same(stored, change)
            return stored
        put = decide(None, change, now=now)
        assert put  # noqa: S101  # nothing is stored, so there is something to put
        store.commit([put])
        return put.item

    return retrying(attempt)


def _open(message: Message, now: datetime) -> _Arrived:
    arrived = _decode(message.body)
    at = arrived_at(message.body, sent_at=message.sent_at, now=now)
    check_not_ahead(arrived.operation.event.time, arrival=at)
    return arrived


def _decide(store: Store, now: datetime, parcels: Sequence[Parcel[_Arrived]]) -> None:
    for parcel in parcels:
        event = parcel.content.operation.event
        parcel.fields |= {"event_id": event.id, "source": event.source, "type": event.type}
        parcel.settle(retrying(partial(_commit, parcel.content, store, now)))


def _commit(arrived: _Arrived, store: Store, now: datetime) -> Outcome:
    """Fact and effect, both or neither. `Cancelled` when somebody was faster."""
    operation = arrived.operation
    fact = _fact(arrived, now)
    seen = store.get(Table.EVENTS, fact.key, consistent=True)
    if seen:
        if seen["payload_hash"] != fact.item["payload_hash"]:
            raise Rejected("id_reuse", "this source and id came before with another payload; give each fact its own id")
        return Outcome.DUPLICATE
    stored = _read(operation, arrived.type, store)
    writes: list[Write] = [fact, *arrived.type.decide(operation, stored, now)]
    store.commit(writes)
    return Outcome.ACCEPTED


def _read(operation: Operation, row: OperationType, store: Store) -> Stored:
    """In rounds: what an item names is known only when it is read."""
    known: dict[Key, Item | None] = {}
    wanted = set(row.reads(operation))
    while missing := wanted - known.keys():
        found = store.batch_get(Table.RECORDS, missing, consistent=True)
        known |= {key: found.get(key) for key in missing}
        wanted = set(row.follows(operation, known))
    return {key: item for key, item in known.items() if item is not None}


def _fact(arrived: _Arrived, now: datetime) -> Put:
    event, data = arrived.operation.event, arrived.operation.data
    key = keys.operation(event.source, event.id)
    content = [event.type, event.subject, rfc3339(event.time), data]
    item = new_item(
        key,
        "operation",
        event_id=event.id,
        source=event.source,
        type=event.type,
        workspace_id=event.subject if arrived.type.has_workspace else None,
        time=rfc3339(event.time),
        data=dict(data),
        payload_hash=hashlib.sha256(msgspec.json.encode(content, order="deterministic")).hexdigest(),
        received_at=rfc3339(now),
        expires_at=epoch(max(event.time, now) + KEPT),
    )
    return Put(table=Table.EVENTS, item=item, expected=Absent())


def _decode(body: str) -> _Arrived:
    envelope = decode(body)
    wire = read(envelope.detail, CloudEventWire, SEE)
    check_context(specversion=wire.specversion, event_id=wire.id, source=wire.source, subject=wire.subject)
    if wire.type not in TYPES:
        raise Rejected("invalid_schema", f"type {wire.type!r} is none of {', '.join(TYPES)}")
    row = TYPES[wire.type]
    if row.has_workspace and not wire.subject:
        raise Rejected("invalid_schema", "subject is missing; write the workspace's id")
    event = CloudEvent(
        id=wire.id, source=wire.source, type=wire.type, subject=wire.subject, time=parse_rfc3339(wire.time)
    )
    data = msgspec.to_builtins(read(wire.data, row.data, SEE))
    return _Arrived(Operation(event, data), row)
