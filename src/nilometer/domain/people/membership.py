"""A membership: one user in one workspace, with a role. The last Admin of a workspace stays one.

The workspace's record counts its Admins, and every change of that number is written with the record as it was read:
of two Admins who leave at once, one is refused.

A membership that ended stays as a mark for 40 days, out of the index, so that a late older event does not revive it.
Its stamp is of the newest event about the role, also of one that said what was so already.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Any, TypeVar

from nilometer.domain.acts.act import Act, checked_id
from nilometer.domain.acts.deed import Actor, Decided, Deed, Id, Stored
from nilometer.domain.acts.records import is_late, record, stamp_after
from nilometer.domain.acts.roles import Permission, Role, may_rule
from nilometer.domain.acts.security import SecurityAction, entry
from nilometer.domain.store import keys
from nilometer.domain.store.times import epoch, rfc3339
from nilometer.domain.store.writes import Check, Item, Key, Put, Table, Update, Version, Write, version_of
from nilometer.errors import Refused

MARKED = timedelta(days=40)

T = TypeVar("T")


class _MembershipStatus(StrEnum):
    ACTIVE = "active"
    REMOVED = "removed"


MEMBERSHIP_STEPS: Mapping[str, frozenset[str]] = {
    "": frozenset({_MembershipStatus.ACTIVE}),
    _MembershipStatus.ACTIVE: frozenset(_MembershipStatus),
    _MembershipStatus.REMOVED: frozenset(_MembershipStatus),
}
"""What each status becomes, "" being no membership. One that stays was said again by a newer event."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Membership:
    """An active membership. `joined_at` is RFC 3339."""

    workspace_id: str
    user_id: str
    role: Role
    joined_at: str
    sessions_after: str = ""
    """Sessions from before are over. RFC 3339."""


def membership_of(item: Item | None) -> Membership | None:
    """`None` when the user is no member, or no longer."""
    if item is None or item["status"] != _MembershipStatus.ACTIVE:
        return None
    return Membership(
        workspace_id=item["workspace_id"],
        user_id=item["user_id"],
        role=Role(item["role"]),
        joined_at=item["joined_at"],
        sessions_after=item.get("sessions_after", ""),
    )


def has_ended(item: Item | None) -> bool:
    """Whether the item is the mark of a membership that is over."""
    return item is not None and item["status"] == _MembershipStatus.REMOVED


@dataclass(frozen=True, kw_only=True)
class MemberDeed(Deed[T]):
    """A deed that concerns one membership."""

    actor = Actor.NAMED
    user_id: Id

    def reads(self, act: Act) -> list[Key]:
        return [keys.member(act.workspace_id, self.user_id)]

    def stored(self, act: Act, stored: Stored) -> Item | None:
        """The membership as it is stored; None when there is none."""
        return stored.get(keys.member(act.workspace_id, self.user_id))

    def membership(self, act: Act, decided: Decided) -> Membership:
        """The membership as it is after the writes."""
        return current(act, decided.after(keys.member(act.workspace_id, self.user_id)), self.user_id)


@dataclass(frozen=True, kw_only=True)
class AddMember(MemberDeed[Membership]):
    """A user is a member from now on.

    Services and operators say so; people are invited. Nothing when he is one in that role.
    """

    permission = Permission.MEMBER_ADD
    role: Role

    def decide(self, act: Act, stored: Stored) -> list[Write]:
        self.require(act)
        return join(act, stored, user_id=self.user_id, role=self.role)

    def answer(self, act: Act, decided: Decided) -> Membership:
        return self.membership(act, decided)


@dataclass(frozen=True, kw_only=True)
class ChangeRole(MemberDeed[Membership]):
    """A member has another role.

    `Refused` for the last Admin, for one who is no member, and for roles that the caller does not rule.
    """

    permission = Permission.MEMBER_CHANGE
    role: Role

    def decide(self, act: Act, stored: Stored) -> list[Write]:
        before = self.stored(act, stored)
        if is_late(before, act):
            return []
        was = current(act, before, self.user_id).role
        self.require(act)
        check_role_given(act, was)
        check_role_given(act, self.role)
        if was is self.role:
            return _said_again(act, before)
        put = _active(act, before, **{**_kept(before), "role": self.role})
        count = _counted(act, stored, int(self.role is Role.ADMIN) - int(was is Role.ADMIN))
        return [
            put,
            count,
            entry(act, SecurityAction.ROLE_CHANGED, subject=self.user_id, role=self.role, role_before=was),
        ]

    def answer(self, act: Act, decided: Decided) -> Membership:
        return self.membership(act, decided)


@dataclass(frozen=True, kw_only=True)
class RemoveMember(MemberDeed[None]):
    """A user is no member any more.

    His sessions in the workspace are over. A member may leave himself; nothing when he has left already.
    """

    permission = Permission.MEMBER_REMOVE

    def decide(self, act: Act, stored: Stored) -> list[Write]:
        before = self.stored(act, stored)
        if is_late(before, act):
            return []
        self.require(act, own=self.user_id)
        if before is not None and membership_of(before) is None:
            return _said_again(act, before)
        role = current(act, before, self.user_id).role
        if not act.caller.is_self(self.user_id):
            check_role_given(act, role)
        count = _counted(act, stored, -int(role is Role.ADMIN))
        return [
            _removed(act, before),
            count,
            entry(act, SecurityAction.MEMBER_REMOVED, subject=self.user_id, role=role),
        ]


@dataclass(frozen=True, kw_only=True)
class EndSessions(MemberDeed[None]):
    """All sessions of a member in the workspace are over.

    Every one that exists by now, also one that no list shows yet.
    """

    permission = Permission.SESSION_MANAGE

    def decide(self, act: Act, stored: Stored) -> list[Write]:
        before = self.stored(act, stored)
        self.require(act, own=self.user_id)
        member = current(act, before, self.user_id)
        if not act.caller.is_self(self.user_id):
            check_role_given(act, member.role)
        after = max(rfc3339(act.happened), member.sessions_after)
        stamp = str((before or {}).get("stamp", ""))  # it says nothing of the role: an older event about it may come
        put = _active(act, before, stamp=stamp, **{**_kept(before), "sessions_after": after})
        return [put, entry(act, SecurityAction.SESSIONS_REVOKED, subject=self.user_id)]


def join(act: Act, stored: Stored, *, user_id: str, role: Role) -> list[Write]:
    """`Refused` when he is a member in another role: that is a change of role."""
    before = stored.get(keys.member(act.workspace_id, user_id))
    if is_late(before, act):
        return []
    known = membership_of(before)
    if known and known.role is role:
        return _said_again(act, before)
    if known:
        raise Refused(f"{user_id} is a member of {act.workspace_id} already, as {known.role}; change the role")
    past = {"sessions_after": before["sessions_after"]} if before and "sessions_after" in before else {}
    put = _active(act, before, user_id=checked_id(user_id), role=role, joined_at=rfc3339(act.happened), **past)
    count = _counted(act, stored, int(role is Role.ADMIN))
    return [put, count, entry(act, SecurityAction.MEMBER_ADDED, subject=user_id, role=role)]


def found(act: Act, stored: Stored, *, user_id: str) -> list[Write]:
    """The first Admin of a workspace that is created in the same transaction, with `admins` = 1."""
    before = stored.get(keys.member(act.workspace_id, user_id))
    put = _active(act, before, user_id=checked_id(user_id), role=Role.ADMIN, joined_at=rfc3339(act.happened))
    return [put, entry(act, SecurityAction.MEMBER_ADDED, subject=user_id, role=Role.ADMIN)]


def current(act: Act, stored: Item | None, user_id: str) -> Membership:
    """The membership. `Refused` for one who is no member."""
    known = membership_of(stored)
    if known is None:
        raise Refused(f"{user_id} is no member of {act.workspace_id}")
    return known


def check_role_given(act: Act, role: Role) -> None:
    """`Refused` unless the caller may give, change or take `role`."""
    if act.caller.role is not None and not may_rule(act.caller.role, role):
        raise Refused(f"{act.caller.role}s may not give, change or remove the role {role}; ask an Admin")


def _said_again(act: Act, before: Item | None) -> list[Write]:
    """An event that says what is so already: from now on an older one that comes late changes nothing.

    Nothing of a call of the library, which saw what is stored.
    """
    if before is None or not act.is_event:
        return []
    return [_active(act, before, **_kept(before)) if membership_of(before) else _removed(act, before)]


def _active(act: Act, stored: Item | None, *, stamp: str | None = None, **attributes: Any) -> Put:
    user_id = attributes["user_id"]
    return record(
        act,
        keys.member(act.workspace_id, user_id),
        "membership",
        stored,
        status=str(_MembershipStatus.ACTIVE),
        **{**attributes, "role": str(attributes["role"])},
        gsi1pk=keys.user(user_id),
        gsi1sk=keys.workspace(act.workspace_id).pk,
        stamp=stamp_after(stored, act) if stamp is None else stamp,
    )


def _removed(act: Act, stored: Item | None) -> Put:
    kept = _kept(stored)
    return record(
        act,
        keys.member(act.workspace_id, kept["user_id"]),
        "membership",
        stored,
        **{**kept, "sessions_after": max(rfc3339(act.now), kept.get("sessions_after", ""))},
        status=str(_MembershipStatus.REMOVED),
        stamp=stamp_after(stored, act),
        expires_at=epoch(act.now + MARKED),
    )


def _kept(stored: Item | None) -> dict[str, Any]:
    names = ("user_id", "role", "joined_at", "sessions_after")
    return {name: stored[name] for name in names if stored and name in stored}


def _counted(act: Act, stored: Stored, difference: int) -> Write:
    """The workspace with its new number of Admins; without a difference, still the same workspace."""
    key = keys.workspace(act.workspace_id)
    workspace = stored[key]
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
