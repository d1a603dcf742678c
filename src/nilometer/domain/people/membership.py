"""A membership: one user in one workspace, with a role. The last Admin of a workspace stays one.

The workspace's record counts its Admins, and every change of that number is written with the record as it was read:
of two Admins who leave at once, one is refused.

A membership that ended stays as a mark for 40 days, out of the index, so that a late older event does not revive it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Any

from nilometer.domain.acts.act import Act, checked_id
from nilometer.domain.acts.records import is_late, record, stamp_after
from nilometer.domain.acts.roles import Permission, Role, may_rule
from nilometer.domain.acts.security import Action, entry
from nilometer.domain.store import keys
from nilometer.domain.store.times import epoch, rfc3339
from nilometer.domain.store.writes import Check, Item, Put, Table, Update, Version, Write, version_of
from nilometer.errors import Refused

MARKED = timedelta(days=40)


class MembershipStatus(StrEnum):
    ACTIVE = "active"
    REMOVED = "removed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Membership:
    workspace_id: str
    user_id: str
    role: Role
    joined_at: str
    sessions_after: str = ""
    """Sessions from before are over. RFC 3339."""


def membership_of(item: Item | None) -> Membership | None:
    """`None` when the user is no member, or no longer."""
    if item is None or item["status"] != MembershipStatus.ACTIVE:
        return None
    return Membership(
        workspace_id=item["workspace_id"],
        user_id=item["user_id"],
        role=Role(item["role"]),
        joined_at=item["joined_at"],
        sessions_after=item.get("sessions_after", ""),
    )


def add(act: Act, *, workspace: Item, stored: Item | None, user_id: str, role: Role) -> list[Write]:
    """A service says that `user_id` is a member now. Nothing when he is, in that role."""
    act.caller.require(Permission.MEMBER_ADD)
    return join(act, workspace=workspace, stored=stored, user_id=user_id, role=role)


def join(act: Act, *, workspace: Item, stored: Item | None, user_id: str, role: Role) -> list[Write]:
    """`Refused` when he is a member in another role: that is a change of role."""
    if is_late(stored, act):
        return []
    current = membership_of(stored)
    if current and current.role is role:
        return []
    if current:
        raise Refused(f"{user_id} is a member of {act.workspace_id} already, as {current.role}; change the role")
    past = {"sessions_after": stored["sessions_after"]} if stored and "sessions_after" in stored else {}
    put = _active(act, stored, user_id=checked_id(user_id), role=role, joined_at=rfc3339(act.happened), **past)
    count = _counted(act, workspace, int(role is Role.ADMIN))
    return [put, count, entry(act, Action.MEMBER_ADDED, subject=user_id, role=role)]


def found(act: Act, *, stored: Item | None, user_id: str) -> list[Write]:
    """The first Admin of a workspace that is created in the same transaction, with `admins` = 1."""
    act.caller.require(Permission.WORKSPACE_CREATE)
    put = _active(act, stored, user_id=checked_id(user_id), role=Role.ADMIN, joined_at=rfc3339(act.happened))
    return [put, entry(act, Action.MEMBER_ADDED, subject=user_id, role=Role.ADMIN)]


def change_role(act: Act, *, workspace: Item, stored: Item | None, user_id: str, role: Role) -> list[Write]:
    """`Refused` for the last Admin, for a stranger, and for roles that the caller does not rule."""
    if is_late(stored, act):
        return []
    current = _current(act, stored, user_id)
    act.caller.require(Permission.MEMBER_CHANGE)
    _check_rule(act, current.role)
    _check_rule(act, role)
    if current.role is role:
        return []
    put = _active(act, stored, **{**_kept(stored), "role": role})
    count = _counted(act, workspace, int(role is Role.ADMIN) - int(current.role is Role.ADMIN))
    return [put, count, entry(act, Action.ROLE_CHANGED, subject=user_id, role=role, role_before=current.role)]


def remove(act: Act, *, workspace: Item, stored: Item | None, user_id: str) -> list[Write]:
    """Removes a member, or lets the caller leave. His sessions in the workspace are over. Nothing when he is none."""
    if is_late(stored, act):
        return []
    is_self = act.caller.is_self(user_id)
    if not is_self:
        act.caller.require(Permission.MEMBER_REMOVE)
    current = membership_of(stored)
    if stored is not None and current is None:
        return []
    current = _current(act, stored, user_id)
    if not is_self:
        _check_rule(act, current.role)
    count = _counted(act, workspace, -int(current.role is Role.ADMIN))
    return [_removed(act, stored), count, entry(act, Action.MEMBER_REMOVED, subject=user_id, role=current.role)]


def end_sessions(act: Act, *, stored: Item | None, user_id: str) -> list[Write]:
    """Every session of the member in this workspace that exists by now is over, also one that no list shows yet."""
    if not act.caller.is_self(user_id):
        act.caller.require(Permission.SESSION_MANAGE)
    current = _current(act, stored, user_id)
    if not act.caller.is_self(user_id):
        _check_rule(act, current.role)
    after = max(rfc3339(act.happened), current.sessions_after)
    put = _active(act, stored, **{**_kept(stored), "sessions_after": after})
    return [put, entry(act, Action.SESSIONS_REVOKED, subject=user_id)]


def check_role_given(act: Act, role: Role) -> None:
    """`Refused` unless the caller may give `role`."""
    _check_rule(act, role)


def _current(act: Act, stored: Item | None, user_id: str) -> Membership:
    current = membership_of(stored)
    if current is None:
        raise Refused(f"{user_id} is no member of {act.workspace_id}")
    return current


def _check_rule(act: Act, role: Role) -> None:
    if act.caller.role is not None and not may_rule(act.caller.role, role):
        raise Refused(f"{act.caller.role}s may not give, change or remove the role {role}; ask an Admin")


def _active(act: Act, stored: Item | None, **attributes: Any) -> Put:
    user_id = attributes["user_id"]
    return record(
        act,
        keys.member(act.workspace_id, user_id),
        "membership",
        stored,
        status=str(MembershipStatus.ACTIVE),
        **{**attributes, "role": str(attributes["role"])},
        gsi1pk=keys.user(user_id),
        gsi1sk=keys.workspace(act.workspace_id).pk,
        stamp=stamp_after(stored, act),
    )


def _removed(act: Act, stored: Item | None) -> Put:
    kept = _kept(stored)
    return record(
        act,
        keys.member(act.workspace_id, kept["user_id"]),
        "membership",
        stored,
        **{**kept, "sessions_after": rfc3339(act.now)},
        status=str(MembershipStatus.REMOVED),
        stamp=stamp_after(stored, act),
        expires_at=epoch(act.now + MARKED),
    )


def _kept(stored: Item | None) -> dict[str, Any]:
    names = ("user_id", "role", "joined_at", "sessions_after")
    return {name: stored[name] for name in names if stored and name in stored}


def _counted(act: Act, workspace: Item, difference: int) -> Write:
    """The workspace with its new number of Admins; without a difference, still the same workspace."""
    key = keys.workspace(act.workspace_id)
    if not difference:
        return Check(table=Table.RECORDS, key=key, expected=version_of(workspace))
    if workspace.get("admins", 0) + difference < 1:
        raise Refused(f"{act.workspace_id} would have no Admin; make another member Admin first")
    return Update(
        table=Table.RECORDS,
        key=key,
        add={"admins": difference, "version": 1},
        set={"updated_at": rfc3339(act.now), "cause": act.cause, "actor": act.caller.user_id},
        expected=Version(int(workspace["version"])),
    )
