"""The event types about feature flags: for everybody, and for the workspace that is the subject."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import msgspec

from nilometer.domain.acts.origin import of_event
from nilometer.domain.people import flag
from nilometer.domain.people.flag import FlagChange, Override
from nilometer.domain.people.workspace import check_open
from nilometer.domain.store import keys
from nilometer.domain.store.writes import Key, Write
from nilometer.flows.inbox.types import Data, Id, Operation, OperationType, OperationTypes, Slug, Stored

Rollout = Annotated[int, msgspec.Meta(ge=0, le=flag.BUCKETS, description="Percentage of workspaces")]
Description = Annotated[str, msgspec.Meta(max_length=flag.DESCRIPTION_LENGTH)]


class FlagSet(Data):
    """A flag is set for everybody; the first time creates it, off; what is left out stays."""

    flag: Slug
    enabled: bool | msgspec.UnsetType = msgspec.UNSET
    rollout: Rollout | msgspec.UnsetType = msgspec.UNSET
    archived: bool | msgspec.UnsetType = msgspec.UNSET
    description: Description | msgspec.UnsetType = msgspec.UNSET
    actor: Id | None = None


class FlagOverridden(Data):
    """A flag has its own value in one workspace; `enabled` null takes that back."""

    flag: Slug
    enabled: bool | None
    actor: Id | None = None


def _change(operation: Operation) -> FlagChange:
    said = {name: value for name, value in operation.data.items() if name not in {"flag", "actor"}}
    return flag.new_change(operation.data["flag"], **said)


def _reads_flag(operation: Operation) -> list[Key]:
    return [_change(operation).key]


def _decides_flag(operation: Operation, stored: Stored, now: datetime) -> list[Write]:
    said = _change(operation)
    origin = of_event(operation.event, actor=operation.data.get("actor"))
    put = flag.change(stored.get(said.key), said, origin=origin, now=now)
    return [put] if put else []


def _override(operation: Operation) -> Override:
    return flag.new_override(operation.data["flag"], operation.workspace_id, operation.data["enabled"])


def _reads_override(operation: Operation) -> list[Key]:
    return [*flag.override_reads(_override(operation)), keys.workspace(operation.workspace_id)]


def _decides_override(operation: Operation, stored: Stored, now: datetime) -> list[Write]:
    check_open(stored.get(keys.workspace(operation.workspace_id)), operation.workspace_id)
    origin = of_event(operation.event, actor=operation.data.get("actor"))
    return flag.override(stored, _override(operation), origin=origin, now=now)


TYPES: OperationTypes = {
    "flag.set.v1": OperationType(data=FlagSet, reads=_reads_flag, decide=_decides_flag, has_workspace=False),
    "flag.overridden.v1": OperationType(data=FlagOverridden, reads=_reads_override, decide=_decides_override),
}
