"""The event types about workspaces and meters."""

from __future__ import annotations

from datetime import datetime

import msgspec

from nilometer.domain.people.fields import Change, decide, meter_change, stamp, workspace_change
from nilometer.domain.people.workspace import workspace_writes
from nilometer.domain.store import keys
from nilometer.domain.store.writes import Key, Write
from nilometer.flows.inbox.types import Data, Operation, OperationType, OperationTypes, Stored


class WorkspaceCreated(Data):
    """A workspace exists from now on."""

    name: str
    slug: str | None = None
    shards: int = 1


class WorkspaceUpdated(Data):
    """What is said is so now; what is left out stays."""

    name: str | msgspec.UnsetType = msgspec.UNSET
    status: str | msgspec.UnsetType = msgspec.UNSET
    slug: str | msgspec.UnsetType = msgspec.UNSET
    shards: int | msgspec.UnsetType = msgspec.UNSET


class MeterCreated(Data):
    """A meter exists from now on."""

    meter: str
    unit: str
    aggregation: str
    dimensions: list[str] = msgspec.field(default_factory=list)
    stripe_event_name: str | None = None
    fail_open: bool = True


class MeterUpdated(Data):
    """What is said is so now; what is left out stays."""

    meter: str
    active: bool | msgspec.UnsetType = msgspec.UNSET
    dimensions: list[str] | msgspec.UnsetType = msgspec.UNSET
    stripe_event_name: str | msgspec.UnsetType | None = msgspec.UNSET
    fail_open: bool | msgspec.UnsetType = msgspec.UNSET


def _workspace(operation: Operation) -> Change:
    event = operation.event
    return workspace_change(
        operation.workspace_id,
        creates=event.type == "workspace.created.v1",
        given=operation.data,
        stamp=stamp(event),
        cause=event.id,
        actor=event.source,
    )


def _meter(operation: Operation) -> Change:
    event, data = operation.event, operation.data
    return meter_change(
        data["meter"],
        creates=event.type == "meter.created.v1",
        given={name: value for name, value in data.items() if name != "meter"},
        stamp=stamp(event),
        cause=event.id,
        actor=event.source,
    )


def _reads_workspace(operation: Operation) -> list[Key]:
    slug = operation.data.get("slug")
    return [_workspace(operation).key, *([keys.slug(slug)] if slug else [])]


def _decides_workspace(operation: Operation, stored: Stored, now: datetime) -> list[Write]:
    change = _workspace(operation)
    before = stored.get(change.key)
    put = decide(before, change, now=now)
    slug = operation.data.get("slug")
    return workspace_writes(before, put, stored.get(keys.slug(slug)) if slug else None, now=now) if put else []


def _reads_meter(operation: Operation) -> list[Key]:
    return [_meter(operation).key]


def _decides_meter(operation: Operation, stored: Stored, now: datetime) -> list[Write]:
    change = _meter(operation)
    put = decide(stored.get(change.key), change, now=now)
    return [put] if put else []


TYPES: OperationTypes = {
    **{
        name: OperationType(data=data, reads=_reads_workspace, decide=_decides_workspace)
        for name, data in (("workspace.created.v1", WorkspaceCreated), ("workspace.updated.v1", WorkspaceUpdated))
    },
    **{
        name: OperationType(data=data, reads=_reads_meter, decide=_decides_meter, has_workspace=False)
        for name, data in (("meter.created.v1", MeterCreated), ("meter.updated.v1", MeterUpdated))
    },
}
