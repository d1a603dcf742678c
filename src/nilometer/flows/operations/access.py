"""The event types about sessions, one-time tokens and the security log. The workspace is the event's subject."""

from __future__ import annotations

from collections.abc import Sequence

from nilometer.domain.access import session, token
from nilometer.domain.access.report import report
from nilometer.domain.access.token import Purpose
from nilometer.domain.acts.act import Act
from nilometer.domain.acts.security import Reported
from nilometer.domain.people import membership
from nilometer.domain.store import keys
from nilometer.domain.store.writes import Item, Key, Write
from nilometer.flows.inbox.types import Code, Data, Id, Instant, Operation, OperationTypes, Sha256, Stored
from nilometer.flows.operations.people import in_workspace, until


class SessionCreated(Data):
    """A verified login: the service holds the token, we its hash."""

    session_hash: Sha256
    user_id: Id
    valid_until: Instant | None = None


class SessionRevoked(Data):
    """One session is over."""

    session_hash: Sha256
    actor: Id | None = None


class SessionAllRevoked(Data):
    """All sessions of a member in the workspace are over."""

    user_id: Id
    actor: Id | None = None


class TokenIssued(Data):
    """A one-time token is on its way to its user."""

    token_hash: Sha256
    purpose: Purpose
    user_id: Id
    valid_until: Instant | None = None


class TokenUsed(Data):
    """A one-time token was presented."""

    token_hash: Sha256
    purpose: Purpose


class SecurityEventRecorded(Data):
    """Something was done, or tried in vain, at a door of the workspace."""

    action: Reported
    user_id: Id
    object_id: Id | None = None
    reason: Code | None = None


def _session(operation: Operation) -> Key:
    return keys.session(operation.data["session_hash"])


def _token(operation: Operation) -> Key:
    return keys.token(operation.data["token_hash"])


def _member(operation: Operation) -> Key:
    return keys.member(operation.workspace_id, operation.data["user_id"])


def _lockout(operation: Operation) -> Key:
    return keys.lockout(operation.workspace_id, operation.data["user_id"])


def _created(act: Act, operation: Operation, stored: Stored, _workspace: Item) -> Sequence[Write]:
    ends = until(operation)
    return session.create(
        act,
        stored=stored.get(_session(operation)),
        member=stored.get(_member(operation)),
        failures=stored.get(_lockout(operation)),
        user_id=operation.data["user_id"],
        token_hash=operation.data["session_hash"],
        lifetime=ends - act.happened if ends else session.LIFETIME,
    )


def _revoked(act: Act, operation: Operation, stored: Stored, _workspace: Item) -> Sequence[Write]:
    return session.revoke(act, stored=stored.get(_session(operation)))


def _all_revoked(act: Act, operation: Operation, stored: Stored, _workspace: Item) -> Sequence[Write]:
    member = stored.get(_member(operation))
    return membership.end_sessions(act, stored=member, user_id=operation.data["user_id"])


def _issued(act: Act, operation: Operation, stored: Stored, _workspace: Item) -> Sequence[Write]:
    data = operation.data
    return token.issue(
        act,
        stored=stored.get(_token(operation)),
        user_id=data["user_id"],
        purpose=Purpose(data["purpose"]),
        token_hash=data["token_hash"],
        valid_until=until(operation),
    )


def _used(act: Act, operation: Operation, stored: Stored, _workspace: Item) -> Sequence[Write]:
    purpose, token_hash = Purpose(operation.data["purpose"]), operation.data["token_hash"]
    return token.use(act, stored=stored.get(_token(operation)), token_hash=token_hash, purpose=purpose)


def _recorded(act: Act, operation: Operation, stored: Stored, _workspace: Item) -> Sequence[Write]:
    data = operation.data
    return report(
        act,
        failures=stored.get(_lockout(operation)),
        action=Reported(data["action"]),
        user_id=data["user_id"],
        object_id=data.get("object_id"),
        reason=data.get("reason"),
    )


TYPES: OperationTypes = {
    "session.created.v1": in_workspace(
        SessionCreated,
        lambda operation: [_session(operation), _member(operation), _lockout(operation)],
        _created,
    ),
    "session.revoked.v1": in_workspace(SessionRevoked, lambda operation: [_session(operation)], _revoked),
    "session.all_revoked.v1": in_workspace(SessionAllRevoked, lambda operation: [_member(operation)], _all_revoked),
    "token.issued.v1": in_workspace(TokenIssued, lambda operation: [_token(operation)], _issued),
    "token.used.v1": in_workspace(TokenUsed, lambda operation: [_token(operation)], _used),
    "security.event_recorded.v1": in_workspace(
        SecurityEventRecorded, lambda operation: [_lockout(operation)], _recorded
    ),
}
