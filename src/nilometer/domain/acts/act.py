"""Who does something, in which workspace, as what, when and why.

Every decision about a workspace takes its `Act`: the workspace is the caller's, never one that a payload names, and
every record takes actor, cause and time from it.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from datetime import datetime

from nilometer.domain.acts.roles import MATRIX, Permission, Role
from nilometer.domain.events.cloudevents import NAME_LENGTH, CloudEvent
from nilometer.domain.store.keys import part
from nilometer.domain.store.times import rfc3339
from nilometer.domain.store.ulid import CHANCE, ulid
from nilometer.errors import Refused, Rejected


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """A member of a workspace; or, without a role, one of our own services or an operator, who may do all.

    `flows.access` makes callers from sessions and memberships; `service` is the other way to one, and must not be
    reached with what a request names. `user_id` is the service's name when there is no role.
    """

    workspace_id: str
    user_id: str
    role: Role | None

    def may(self, permission: Permission) -> bool:
        """True without a role: services and operators are not restricted by the matrix."""
        return self.role is None or permission in MATRIX[self.role]

    def require(self, permission: Permission) -> None:
        """`Refused` when the role does not have it."""
        if not self.may(permission):
            raise Refused(f"{self.role}s may not {permission}; ask {_who_may(permission)} of {self.workspace_id}")

    def is_self(self, user_id: str) -> bool:
        """Never true of a service or an operator, also when its name equals the user's id."""
        return self.role is not None and self.user_id == user_id


def service(workspace_id: str, name: str) -> Caller:
    """One of our own services, or an operator, in a workspace."""
    return Caller(workspace_id=workspace_id, user_id=name, role=None)


def operator(name: str) -> Caller:
    """One of our own services, or an operator, in no workspace: for what concerns a person or all workspaces."""
    return Caller(workspace_id="", user_id=name, role=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """One deed of a caller. `cause` is the event behind it; `chance` ten bytes that make the ids of what it creates.

    `at` is when it happened, which an event may report late; `now` is the clock.
    """

    caller: Caller
    now: datetime
    chance: bytes
    cause: str | None = None
    at: datetime | None = None
    stamp: str = ""
    """Orders what events say of one record; a caller who saw the record comes after all of them."""

    @property
    def workspace_id(self) -> str:
        """The caller's; empty for what concerns one person or all workspaces."""
        return self.caller.workspace_id

    @property
    def is_event(self) -> bool:
        """An event reports what happened, maybe late; who calls the library saw what is stored."""
        return bool(self.stamp)

    @property
    def happened(self) -> datetime:
        """`at` of an event, else the clock: the time that ids and records take."""
        return self.at or self.now

    def new_id(self, purpose: str = "") -> str:
        """A ULID, the same for the same act and purpose."""
        chance = hashlib.sha256(self.chance + purpose.encode()).digest()[:CHANCE]
        return ulid(self.happened, chance)

    def by(self, caller: Caller) -> Act:
        """The same act of another caller, with the same time, cause and ids."""
        return replace(self, caller=caller)


def event_act(event: CloudEvent, *, actor: str | None, now: datetime) -> Act:
    """What a service reports. The ids follow from the event, so that a copy of it makes the same ones.

    The workspace is empty for what concerns none.
    """
    return Act(
        caller=service(event.subject or "", checked_id(actor) if actor else event.source),
        now=now,
        at=event.time,
        chance=hashlib.sha256(f"{event.source}\n{event.id}".encode()).digest()[:CHANCE],
        cause=event.id,
        stamp=f"{rfc3339(event.time)} {event.source} {event.id}",
    )


def checked_id(user_id: str) -> str:
    """`Rejected` unless it can be a user's id. An address is none: ids travel to the lake, addresses must not."""
    if not 0 < len(part(user_id).encode()) <= NAME_LENGTH or "@" in user_id or not user_id.isprintable():
        raise Rejected("invalid_schema", f"a user's id has 1 to {NAME_LENGTH} bytes and is no e-mail address")
    return user_id


def _who_may(permission: Permission) -> str:
    roles = [role for role in Role if permission in MATRIX[role]]
    return f"an {roles[-1]}" if roles and roles[-1][0] == "A" else f"a {roles[-1]}" if roles else "an operator"
