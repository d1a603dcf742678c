"""Operations: what internal services publish about workspaces and meters, as fact and effect in one transaction.

What if the process dies before the answer? The event comes again and its fact is found. What if a
slow twin applies another event to the same record first? The record's version has moved: read again.
"""

from __future__ import annotations

import hashlib
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeVar

import msgspec

from nilometer.aws.dynamodb import Store
from nilometer.aws.s3 import Objects
from nilometer.domain import keys
from nilometer.domain.cloudevents import CloudEvent, check_context
from nilometer.domain.operations import Change, check_same, decide, meter_change, stamp, workspace_change
from nilometer.domain.outcome import Message, Outcome, Result
from nilometer.domain.reject import Reject
from nilometer.domain.times import epoch, parse_rfc3339, rfc3339
from nilometer.domain.writes import Absent, Item, Put, Table, Write
from nilometer.errors import Cancelled, Rejected, Unavailable
from nilometer.flows.envelope import decode
from nilometer.flows.rejects import keep

KEPT = timedelta(days=40)
ATTEMPTS = 8

_T = TypeVar("_T")


class _Wire(msgspec.Struct, kw_only=True):
    """A CloudEvent as it travels. Extension attributes are allowed, as the specification says."""

    specversion: str
    id: str
    source: str
    type: str
    time: str
    data: msgspec.Raw
    subject: str | None = None


class _WorkspaceCreated(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    name: str
    shards: int = 1


class _WorkspaceUpdated(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    name: str | msgspec.UnsetType = msgspec.UNSET
    status: str | msgspec.UnsetType = msgspec.UNSET
    shards: int | msgspec.UnsetType = msgspec.UNSET


class _MeterCreated(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    meter: str
    unit: str
    aggregation: str
    dimensions: list[str] = []
    stripe_event_name: str | None = None
    fail_open: bool = True


class _MeterUpdated(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    meter: str
    active: bool | msgspec.UnsetType = msgspec.UNSET
    dimensions: list[str] | msgspec.UnsetType = msgspec.UNSET
    stripe_event_name: str | msgspec.UnsetType | None = msgspec.UNSET
    fail_open: bool | msgspec.UnsetType = msgspec.UNSET


@dataclass(frozen=True, slots=True)
class _Operation:
    event: CloudEvent
    change: Change
    data: Mapping[str, Any]


def handle(messages: Sequence[Message], *, store: Store, objects: Objects, now: datetime) -> list[Result]:
    """One result a message, in their order; a failure of one does not touch the others."""
    return [_handle(message, store, objects, now) for message in messages]


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
) -> Item:
    """The meter's record. Doing it again changes nothing; `Refused` when it exists and differs."""
    given = {"unit": unit, "aggregation": aggregation, "dimensions": tuple(dimensions)}
    change = meter_change(slug, creates=True, given=given, stamp=rfc3339(now), cause=None, actor=actor)
    return _create(store, change, now)


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

    return _retrying(attempt)


def _handle(message: Message, store: Store, objects: Objects, now: datetime) -> Result:
    fields: dict[str, str | int] = {}
    try:
        outcome = _apply(message.body, store, now, fields)
    except Rejected as error:
        fields["reason"] = error.reason
        outcome = _reject(message, error, store, objects, now, fields)
    except Exception as error:  # noqa: BLE001  # the neighbours must pass; the queue delivers this one again
        fields["error"] = str(error) if isinstance(error, Unavailable) else type(error).__name__
        outcome = Outcome.FAILED
    return Result(message_id=message.id, outcome=outcome, fields=fields)


def _apply(body: str, store: Store, now: datetime, fields: dict[str, str | int]) -> Outcome:
    operation = _decode(body)
    fields |= {"event_id": operation.event.id, "source": operation.event.source, "type": operation.event.type}
    return _retrying(lambda: _commit(operation, store, now))


def _reject(
    message: Message, error: Rejected, store: Store, objects: Objects, now: datetime, fields: dict[str, str | int]
) -> Outcome:
    reject = Reject(
        flow="operations",
        reason=error.reason,
        message=str(error),
        payload=message.body,
        event_id=str(fields["event_id"]) if "event_id" in fields else None,
        source=str(fields["source"]) if "source" in fields else None,
    )
    try:
        keep(store, objects, [reject], now=now)
    except Exception as failure:  # noqa: BLE001  # not kept: it must come again
        fields["error"] = type(failure).__name__
        return Outcome.FAILED
    return Outcome.REJECTED


def _commit(operation: _Operation, store: Store, now: datetime) -> Outcome:
    """Fact and effect, both or neither. `Cancelled` when somebody was faster."""
    fact = _fact(operation, now)
    seen = store.get(Table.EVENTS, fact.key, consistent=True)
    if seen:
        if seen["payload_hash"] != fact.item["payload_hash"]:
            raise Rejected("id_reuse", "this source and id came before with another payload; give each fact its own id")
        return Outcome.DUPLICATE
    stored = store.get(Table.RECORDS, operation.change.key, consistent=True)
    effect = decide(stored, operation.change, now=now)
    writes: list[Write] = [fact, *([effect] if effect else [])]
    store.commit(writes)
    return Outcome.ACCEPTED


def _fact(operation: _Operation, now: datetime) -> Put:
    event = operation.event
    key = keys.operation(event.source, event.id)
    content = [event.type, event.subject, rfc3339(event.time), operation.data]
    item = {
        "pk": key.pk,
        "sk": key.sk,
        "kind": "operation",
        "version": 1,
        "event_id": event.id,
        "source": event.source,
        "type": event.type,
        "workspace_id": event.subject if operation.change.kind == "workspace" else None,
        "time": rfc3339(event.time),
        "data": dict(operation.data),
        "payload_hash": hashlib.sha256(msgspec.json.encode(content, order="deterministic")).hexdigest(),
        "received_at": rfc3339(now),
        "expires_at": epoch(max(event.time, now) + KEPT),
    }
    return Put(table=Table.EVENTS, item=item, expected=Absent())


def _decode(body: str) -> _Operation:
    wire = _typed(decode(body).detail, _Wire)
    check_context(specversion=wire.specversion, event_id=wire.id, source=wire.source, subject=wire.subject)
    if wire.type not in _TYPES:
        raise Rejected("invalid_schema", f"type {wire.type!r} is none of {', '.join(_TYPES)}")
    event = CloudEvent(
        id=wire.id, source=wire.source, type=wire.type, subject=wire.subject, time=parse_rfc3339(wire.time)
    )
    data_type, change = _TYPES[wire.type]
    data = _typed(wire.data, data_type)
    given = msgspec.to_builtins(data)
    return _Operation(event, change(event, given), given)


def _typed(raw: msgspec.Raw, data_type: type[Any]) -> Any:
    try:
        return msgspec.json.decode(raw, type=data_type, strict=True)
    except (msgspec.DecodeError, UnicodeError) as error:
        raise Rejected("invalid_schema", f"{error}; see events/schemas") from error


def _of_workspace(event: CloudEvent, given: Mapping[str, Any]) -> Change:
    if not event.subject:
        raise Rejected("invalid_schema", "subject is missing; write the workspace's id")
    return workspace_change(
        event.subject,
        creates=event.type == "workspace.created.v1",
        given=given,
        stamp=stamp(event),
        cause=event.id,
        actor=event.source,
    )


def _of_meter(event: CloudEvent, given: Mapping[str, Any]) -> Change:
    return meter_change(
        given["meter"],
        creates=event.type == "meter.created.v1",
        given={name: value for name, value in given.items() if name != "meter"},
        stamp=stamp(event),
        cause=event.id,
        actor=event.source,
    )


def _retrying(attempt: Callable[[], _T]) -> _T:
    """Again when somebody was faster, with full jitter."""
    for count in range(ATTEMPTS):
        try:
            return attempt()
        except Cancelled:
            if count == ATTEMPTS - 1:
                raise
            time.sleep(random.uniform(0, 0.02 * 2**count))
    raise AssertionError("unreachable")


_TYPES: Mapping[str, tuple[type[msgspec.Struct], Callable[[CloudEvent, Mapping[str, Any]], Change]]] = {
    "workspace.created.v1": (_WorkspaceCreated, _of_workspace),
    "workspace.updated.v1": (_WorkspaceUpdated, _of_workspace),
    "meter.created.v1": (_MeterCreated, _of_meter),
    "meter.updated.v1": (_MeterUpdated, _of_meter),
}
