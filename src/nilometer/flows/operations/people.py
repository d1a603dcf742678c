"""The event types about members and invitations. The workspace is the event's subject.

Tokens stay with the service that made them: events carry their SHA-256.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime

from nilometer.domain.acts.act import Act, event_act
from nilometer.domain.acts.roles import Role
from nilometer.domain.people import invitation, membership
from nilometer.domain.people.workspace import check_open
from nilometer.domain.store import keys
from nilometer.domain.store.times import parse_rfc3339
from nilometer.domain.store.writes import Item, Key, Write
from nilometer.errors import NotKnownYet
from nilometer.flows.inbox.types import (
    Data,
    Id,
    Instant,
    Operation,
    OperationType,
    OperationTypes,
    Sha256,
    Stored,
)

Decision = Callable[[Act, Operation, Stored, Item], Sequence[Write]]


class MemberAdded(Data):
    """A user is a member from now on."""

    user_id: Id
    role: Role
    actor: Id | None = None


class MemberRoleChanged(Data):
    """A member has another role."""

    user_id: Id
    role: Role
    actor: Id | None = None


class MemberRemoved(Data):
    """A user is no member any more."""

    user_id: Id
    actor: Id | None = None


class InvitationCreated(Data):
    """Somebody was invited, by a token that the service made."""

    invitation_id: Id
    email: str
    role: Role
    token_hash: Sha256
    valid_until: Instant | None = None
    actor: Id | None = None


class InvitationResent(Data):
    """The invitation has a new token and a new term."""

    invitation_id: Id
    token_hash: Sha256
    valid_until: Instant | None = None
    actor: Id | None = None


class InvitationAccepted(Data):
    """The invited user is a member from now on."""

    invitation_id: Id
    user_id: Id


class InvitationDeclined(Data):
    """The invited person does not want to."""

    invitation_id: Id


class InvitationRevoked(Data):
    """The invitation was taken back."""

    invitation_id: Id
    actor: Id | None = None


def in_workspace(data: type[Data], reads: Callable[[Operation], Iterable[Key]], decide: Decision) -> OperationType:
    """A type whose decision needs its workspace: it waits until that is known."""

    def decided(operation: Operation, stored: Stored, now: datetime) -> Sequence[Write]:
        workspace = stored.get(keys.workspace(operation.workspace_id))
        if workspace is None:
            raise NotKnownYet(
                "unknown_workspace",
                f"workspace {operation.workspace_id} is not known yet; its creation may be on the way",
            )
        check_open(workspace, operation.workspace_id)
        act = event_act(operation.event, actor=operation.data.get("actor"), now=now)
        return decide(act, operation, stored, workspace)

    def read(operation: Operation) -> list[Key]:
        return [keys.workspace(operation.workspace_id), *reads(operation)]

    return OperationType(data=data, reads=read, decide=decided)


def until(operation: Operation) -> datetime | None:
    text = operation.data.get("valid_until")
    return parse_rfc3339(text) if text else None


def _member(operation: Operation) -> Key:
    return keys.member(operation.workspace_id, operation.data["user_id"])


def _invitation(operation: Operation) -> Key:
    return keys.invitation(operation.workspace_id, operation.data["invitation_id"])


def _added(act: Act, operation: Operation, stored: Stored, workspace: Item) -> Sequence[Write]:
    user_id, role = operation.data["user_id"], Role(operation.data["role"])
    return membership.add(act, workspace=workspace, stored=stored.get(_member(operation)), user_id=user_id, role=role)


def _role_changed(act: Act, operation: Operation, stored: Stored, workspace: Item) -> Sequence[Write]:
    user_id, role = operation.data["user_id"], Role(operation.data["role"])
    member = stored.get(_member(operation))
    return membership.change_role(act, workspace=workspace, stored=member, user_id=user_id, role=role)


def _removed(act: Act, operation: Operation, stored: Stored, workspace: Item) -> Sequence[Write]:
    member = stored.get(_member(operation))
    return membership.remove(act, workspace=workspace, stored=member, user_id=operation.data["user_id"])


def _created(act: Act, operation: Operation, stored: Stored, _workspace: Item) -> Sequence[Write]:
    """The service has seen to it that no other is pending for the address."""
    data = operation.data
    return invitation.invite(
        act,
        stored=stored.get(_invitation(operation)),
        others=(),
        invitation_id=data["invitation_id"],
        email=data["email"],
        role=Role(data["role"]),
        token_hash=data["token_hash"],
        valid_until=until(operation),
    )


def _resent(act: Act, operation: Operation, stored: Stored, _workspace: Item) -> Sequence[Write]:
    found, token_hash = stored.get(_invitation(operation)), operation.data["token_hash"]
    return invitation.resend(act, stored=found, token_hash=token_hash, valid_until=until(operation))


def _accepted(act: Act, operation: Operation, stored: Stored, workspace: Item) -> Sequence[Write]:
    found, member = stored.get(_invitation(operation)), stored.get(_member(operation))
    user_id = operation.data["user_id"]
    return invitation.accept(act, stored=found, workspace=workspace, member=member, user_id=user_id)


def _declined(act: Act, operation: Operation, stored: Stored, _workspace: Item) -> Sequence[Write]:
    return invitation.decline(act, stored=stored.get(_invitation(operation)))


def _revoked(act: Act, operation: Operation, stored: Stored, _workspace: Item) -> Sequence[Write]:
    return invitation.revoke(act, stored=stored.get(_invitation(operation)))


def _one(key: Callable[[Operation], Key]) -> Callable[[Operation], Iterable[Key]]:
    return lambda operation: [key(operation)]


TYPES: OperationTypes = {
    "member.added.v1": in_workspace(MemberAdded, _one(_member), _added),
    "member.role_changed.v1": in_workspace(MemberRoleChanged, _one(_member), _role_changed),
    "member.removed.v1": in_workspace(MemberRemoved, _one(_member), _removed),
    "invitation.created.v1": in_workspace(InvitationCreated, _one(_invitation), _created),
    "invitation.resent.v1": in_workspace(InvitationResent, _one(_invitation), _resent),
    "invitation.accepted.v1": in_workspace(
        InvitationAccepted, lambda operation: [_invitation(operation), _member(operation)], _accepted
    ),
    "invitation.declined.v1": in_workspace(InvitationDeclined, _one(_invitation), _declined),
    "invitation.revoked.v1": in_workspace(InvitationRevoked, _one(_invitation), _revoked),
}
