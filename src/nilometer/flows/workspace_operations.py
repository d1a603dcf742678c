"""The event types about workspaces and meters."""

from __future__ import annotations

from datetime import datetime

import msgspec

from nilometer.domain.operations import Change, decide, meter_change, stamp, workspace_change
from nilometer.domain.writes import Key, Write
from nilometer.flows.operation_types import Data, Operation, OperationType, OperationTypes, Stored


class WorkspaceCreated(Data):
    name: str
    shards: int = 1


class WorkspaceUpdated(Data):
    name: str | msgspec.UnsetType = msgspec.UNSET
    status: str | msgspec.UnsetType = msgspec.UNSET
    shards: int | msgspec.UnsetType = msgspec.UNSET


class MeterCreated(Data):
    meter: str
    unit: str
    aggregation: str
    dimensions: list[str] = msgspec.field(default_factory=list)
    stripe_event_name: str | None = None
    fail_open: bool = True


class MeterUpdated(Data):
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
    return [_workspace(operation).key]


def _decides_workspace(operation: Operation, stored: Stored, now: datetime) -> list[Write]:
    return _merged(_workspace(operation), stored, now)


def _reads_meter(operation: Operation) -> list[Key]:
    return [_meter(operation).key]


def _decides_meter(operation: Operation, stored: Stored, now: datetime) -> list[Write]:
    return _merged(_meter(operation), stored, now)


def _merged(change: Change, stored: Stored, now: datetime) -> list[Write]:
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
