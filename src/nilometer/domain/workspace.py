"""A workspace: the tenant that uses, is limited and pays."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from nilometer.domain.cloudevents import NAME_LENGTH
from nilometer.domain.keys import part
from nilometer.domain.writes import Item
from nilometer.errors import Rejected

SHARDS = (1, 4, 8, 32)


class WorkspaceStatus(StrEnum):
    ACTIVE = "active"
    SUSPENDED = "suspended"
    DELETED = "deleted"


@dataclass(frozen=True, slots=True, kw_only=True)
class Workspace:
    id: str
    name: str
    status: WorkspaceStatus = WorkspaceStatus.ACTIVE
    shards: int = 1
    """Over how many items one of its counters is spread: more take more writes a second, and cost a read each."""


def new_workspace(workspace_id: str, *, name: str, status: str = WorkspaceStatus.ACTIVE, shards: int = 1) -> Workspace:
    """`Rejected("invalid_schema")` says which part cannot be."""
    if not 0 < len(part(workspace_id).encode()) <= NAME_LENGTH:
        raise Rejected("invalid_schema", f"a workspace id has 1 to {NAME_LENGTH} bytes")
    if not 0 < len(name) <= NAME_LENGTH:
        raise Rejected("invalid_schema", f"a workspace's name has 1 to {NAME_LENGTH} characters")
    if status not in set(WorkspaceStatus):
        raise Rejected("invalid_schema", f"status {status!r} is none of {', '.join(WorkspaceStatus)}")
    if shards not in SHARDS:
        raise Rejected("invalid_schema", f"shards is one of {', '.join(map(str, SHARDS))}")
    return Workspace(id=workspace_id, name=name, status=WorkspaceStatus(status), shards=shards)


def workspace_attributes(workspace: Workspace) -> Item:
    """The record's own attributes."""
    return {
        "workspace_id": workspace.id,
        "name": workspace.name,
        "status": str(workspace.status),
        "shards": workspace.shards,
    }
