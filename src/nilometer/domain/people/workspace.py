"""A workspace: the tenant that uses, is limited and pays."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from nilometer.domain.events.cloudevents import NAME_LENGTH
from nilometer.domain.people.slug import check_slug, slug_writes
from nilometer.domain.store.keys import part
from nilometer.domain.store.times import parse_rfc3339, rfc3339
from nilometer.domain.store.writes import Item, Put, Write
from nilometer.errors import Refused, Rejected

SHARDS = (1, 4, 8, 32)
GRACE = timedelta(days=30)
"""How long a deleted workspace can be restored, and how long its slug stays its own."""


class WorkspaceStatus(StrEnum):
    ACTIVE = "active"
    SUSPENDED = "suspended"
    DELETED = "deleted"


@dataclass(frozen=True, slots=True, kw_only=True)
class Workspace:
    id: str
    name: str
    status: WorkspaceStatus = WorkspaceStatus.ACTIVE
    slug: str | None = None
    """Its name in addresses; no other workspace has the same."""
    shards: int = 1
    """Over how many items one of its counters is spread: more take more writes a second, and cost a read each."""


def new_workspace(
    workspace_id: str,
    *,
    name: str,
    status: str = WorkspaceStatus.ACTIVE,
    slug: str | None = None,
    shards: int = 1,
) -> Workspace:
    """`Rejected("invalid_schema")` says which part cannot be."""
    if not 0 < len(part(workspace_id).encode()) <= NAME_LENGTH:
        raise Rejected("invalid_schema", f"a workspace id has 1 to {NAME_LENGTH} bytes")
    if not 0 < len(name) <= NAME_LENGTH:
        raise Rejected("invalid_schema", f"a workspace's name has 1 to {NAME_LENGTH} characters")
    if status not in set(WorkspaceStatus):
        raise Rejected("invalid_schema", f"status {status!r} is none of {', '.join(WorkspaceStatus)}")
    if shards not in SHARDS:
        raise Rejected("invalid_schema", f"shards is one of {', '.join(map(str, SHARDS))}")
    if slug is not None:
        check_slug(slug)
    return Workspace(id=workspace_id, name=name, status=WorkspaceStatus(status), slug=slug, shards=shards)


def workspace_attributes(workspace: Workspace) -> Item:
    """The record's own attributes."""
    return {
        "workspace_id": workspace.id,
        "name": workspace.name,
        "status": str(workspace.status),
        "slug": workspace.slug,
        "shards": workspace.shards,
    }


def check_open(workspace: Item | None, workspace_id: str) -> Item:
    """The record. `Refused` when there is none or it is deleted; a suspended workspace is open to its people."""
    if workspace is None:
        raise Refused(f"workspace {workspace_id} is not known; create it first")
    if workspace["status"] == WorkspaceStatus.DELETED:
        raise Refused(f"workspace {workspace_id} is deleted; restore it while its grace lasts")
    return workspace


def is_gone(workspace: Item, now: datetime) -> bool:
    """Whether it was deleted so long ago that nothing brings it back."""
    return workspace["status"] == WorkspaceStatus.DELETED and now >= gone_at(workspace)


def gone_at(workspace: Item) -> datetime:
    """The end of a deleted workspace's grace."""
    return parse_rfc3339(workspace.get("deleted_at") or workspace["updated_at"]) + GRACE


def workspace_writes(stored: Item | None, put: Put, slug: Item | None, *, now: datetime) -> list[Write]:
    """`put` with its slug's record. `slug` is what is stored under the slug that `put` has.

    `Refused` when another workspace has the slug, or when the workspace is gone.
    """
    if stored and is_gone(stored, now):
        raise Refused(f"workspace {stored['workspace_id']} was deleted and its grace is over; create another")
    after = _with_deletion(stored, put.item, now)
    until = gone_at(after) if after["status"] == WorkspaceStatus.DELETED else None
    return [replace(put, item=after), *slug_writes(stored, after, slug, until=until, now=now)]


def _with_deletion(stored: Item | None, item: Item, now: datetime) -> Item:
    rest = {name: value for name, value in item.items() if name != "deleted_at"}
    if item["status"] != WorkspaceStatus.DELETED:
        return rest
    return {**rest, "deleted_at": (stored or {}).get("deleted_at") or rfc3339(now)}
