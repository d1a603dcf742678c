"""A workspace: the tenant that uses, is limited and pays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from nilometer.domain.acts.act import Act
from nilometer.domain.acts.deed import UNSAID, Decided, Deed, Reach, Stored, Unsaid, said, unsent
from nilometer.domain.acts.fields import Fielded, check_same, merged
from nilometer.domain.acts.roles import Permission
from nilometer.domain.acts.security import SecurityAction, entry
from nilometer.domain.acts.text import check_text
from nilometer.domain.events.cloudevents import NAME_LENGTH
from nilometer.domain.people import membership
from nilometer.domain.people.slug import check_slug, slug_writes
from nilometer.domain.store import keys
from nilometer.domain.store.keys import part
from nilometer.domain.store.times import parse_rfc3339, rfc3339
from nilometer.domain.store.writes import Item, Key, Put, Write
from nilometer.errors import Refused, Rejected

SHARDS = (1, 4, 8, 32)
GRACE = timedelta(days=30)
"""How long a deleted workspace can be restored, and how long its slug stays its own."""


class WorkspaceStatus(StrEnum):
    """`status` of the workspace's record. `DELETED` can be undone until `gone_at`."""

    ACTIVE = "active"
    SUSPENDED = "suspended"
    DELETED = "deleted"


@dataclass(frozen=True, slots=True, kw_only=True)
class Workspace:
    """What the other subjects need of a workspace's record."""

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
    check_text("a workspace's name", name, NAME_LENGTH)
    if status not in set(WorkspaceStatus):
        raise Rejected("invalid_schema", f"status {status!r} is none of {', '.join(WorkspaceStatus)}")
    if shards not in SHARDS:
        raise Rejected("invalid_schema", f"shards is one of {', '.join(map(str, SHARDS))}")
    if slug is not None:
        check_slug(slug)
    return Workspace(id=workspace_id, name=name, status=WorkspaceStatus(status), slug=slug, shards=shards)


def workspace_attributes(fields: Mapping[str, Any]) -> Item:
    """The record's own attributes, from all that is known of it."""
    workspace = new_workspace(**fields)
    return {
        "workspace_id": workspace.id,
        "name": workspace.name,
        "status": str(workspace.status),
        "slug": workspace.slug,
        "shards": workspace.shards,
    }


RECORD = Fielded(
    kind="workspace",
    names=("workspace_id", "name", "status", "slug", "shards"),
    attributes=workspace_attributes,
)


@dataclass(frozen=True, kw_only=True)
class CreateWorkspace(Deed[Item]):
    """A workspace exists from now on.

    Of the library with its slug and its first Admin in one transaction; doing it again changes nothing. `Refused` when
    the workspace exists otherwise, or the slug is another's. The answer is its record.
    """

    reach = Reach.WORKSPACE
    permission = Permission.WORKSPACE_CREATE

    name: str
    slug: str | None = None
    shards: int = 1
    admin: str | None = unsent(None)

    def given(self, act: Act) -> dict[str, Any]:
        """The fields that the deed names, as they are stored."""
        more = {"slug": self.slug} if self.slug is not None else {}
        shards = {"shards": self.shards} if self.shards != 1 else {}
        return {"workspace_id": act.workspace_id, "name": self.name, **more, **shards}

    def reads(self, act: Act) -> list[Key]:
        admin = [keys.member(act.workspace_id, self.admin)] if self.admin else []
        return [keys.workspace(act.workspace_id), *admin, *_slug_keys(self.slug)]

    def decide(self, act: Act, stored: Stored) -> list[Write]:
        self.require(act)
        before = stored.get(keys.workspace(act.workspace_id))
        if before and not act.is_event:
            check_same(RECORD, before, self.given(act))
            self._check_founder(act, stored)
            return []
        put = merged(act, RECORD, keys.workspace(act.workspace_id), before, self.given(act), creates=True)
        if put is None:
            return []
        admins = {"admins": 1} if self.admin else {}
        writes = workspace_writes(before, replace(put, item={**put.item, **admins}), stored, now=act.now)
        return [*writes, *(membership.found(act, stored, user_id=self.admin) if self.admin else [])]

    def answer(self, act: Act, decided: Decided) -> Item:
        return decided.after(keys.workspace(act.workspace_id)) or {}

    def _check_founder(self, act: Act, stored: Stored) -> None:
        if self.admin and membership.membership_of(stored.get(keys.member(act.workspace_id, self.admin))) is None:
            raise Refused(f"the workspace exists already, and {self.admin} is no member of it")


@dataclass(frozen=True, kw_only=True)
class UpdateWorkspace(Deed[Item]):
    """What is said is so now; what is left out stays.

    The status `deleted` closes it for everybody at once, and `active` restores it within 30 days, with its people and
    its slug. `Refused` when another workspace has the slug. The answer is its record.
    """

    reach = Reach.WORKSPACE

    name: str | Unsaid = UNSAID
    status: str | Unsaid = UNSAID
    slug: str | Unsaid = UNSAID
    shards: int | Unsaid = UNSAID

    def given(self) -> dict[str, Any]:
        """The fields that the deed names, as they are stored."""
        return said(name=self.name, status=self.status, slug=self.slug, shards=self.shards)

    def reads(self, act: Act) -> list[Key]:
        return [keys.workspace(act.workspace_id), *_slug_keys(self.slug)]

    def decide(self, act: Act, stored: Stored) -> list[Write]:
        given, before = self.given(), stored.get(keys.workspace(act.workspace_id))
        if not act.is_event:
            changes_status = "status" in given or "shards" in given
            act.caller.require(Permission.WORKSPACE_DELETE if changes_status else Permission.WORKSPACE_UPDATE)
            if before is None:
                raise Refused(f"workspace {act.workspace_id} is not known; create it first")
            if all(before.get(name) == value for name, value in given.items()):
                return []
            if before["status"] == WorkspaceStatus.DELETED and "status" not in given:
                raise Refused(f"workspace {act.workspace_id} is deleted; restore it first")
        more = {"workspace_id": act.workspace_id, **given}
        put = merged(act, RECORD, keys.workspace(act.workspace_id), before, more, creates=False)
        if put is None:
            return []
        return [*workspace_writes(before, put, stored, now=act.now), *_logged(act, before, put.item)]

    def answer(self, act: Act, decided: Decided) -> Item:
        return decided.after(keys.workspace(act.workspace_id)) or {}


def _slug_keys(slug: str | Unsaid | None) -> list[Key]:
    return [keys.slug(slug)] if isinstance(slug, str) and slug else []


def _logged(act: Act, before: Item | None, item: Item) -> list[Write]:
    """Who closes or opens a workspace by the library stands in its log."""
    was, is_ = (before or item)["status"] == WorkspaceStatus.DELETED, item["status"] == WorkspaceStatus.DELETED
    if was == is_ or act.is_event:
        return []
    return [entry(act, SecurityAction.WORKSPACE_DELETED if is_ else SecurityAction.WORKSPACE_RESTORED)]


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


def workspace_writes(before: Item | None, put: Put, stored: Stored, *, now: datetime) -> list[Write]:
    """`put` with its slug's record.

    `Refused` when another workspace has the slug, or when the workspace does not exist.
    """
    if before and is_gone(before, now):
        raise Refused(f"workspace {before['workspace_id']} was deleted and its grace is over; create another")
    after = _with_deletion(before, put.item, now)
    until = gone_at(after) if after["status"] == WorkspaceStatus.DELETED else None
    holder = stored.get(keys.slug(after["slug"])) if after.get("slug") else None
    return [replace(put, item=after), *slug_writes(before, after, holder, until=until, now=now)]


def _with_deletion(stored: Item | None, item: Item, now: datetime) -> Item:
    rest = {name: value for name, value in item.items() if name != "deleted_at"}
    if item["status"] != WorkspaceStatus.DELETED:
        return rest
    return {**rest, "deleted_at": (stored or {}).get("deleted_at") or rfc3339(now)}
