"""The event types about sessions, one-time tokens and the security log. The workspace is the event's subject."""

from __future__ import annotations

from collections.abc import Sequence

from nilometer.domain import keys, membership, session, token
from nilometer.domain.act import Act
from nilometer.domain.report import report
from nilometer.domain.secret import checked_hash
from nilometer.domain.security import action_named
from nilometer.domain.token import purpose_named
from nilometer.domain.writes import Item, Key, Write
from nilometer.flows.operation_types import Data, Operation, OperationTypes, Stored
from nilometer.flows.people_operations import in_workspace, until


class SessionCreated(Data):
    session_hash: str
    user_id: str
    valid_until: str | None = None


class SessionRevoked(Data):
    session_hash: str
    actor: str | None = None


class SessionAllRevoked(Data):
    user_id: str
    actor: str | None = None


class TokenIssued(Data):
    token_hash: str
    purpose: str
    user_id: str
    valid_until: str | None = None


class TokenUsed(Data):
    token_hash: str
    purpose: str


class SecurityEventRecorded(Data):
    action: str
    user_id: str
    object_id: str | None = None
    reason: str | None = None


def _session(operation: Operation) -> Key:
    return keys.session(checked_hash(operation.data["session_hash"]))


def _token(operation: Operation) -> Key:
    return keys.token(checked_hash(operation.data["token_hash"]))


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
        purpose=purpose_named(data["purpose"]),
        token_hash=data["token_hash"],
        valid_until=until(operation),
    )


def _used(act: Act, operation: Operation, stored: Stored, _workspace: Item) -> Sequence[Write]:
    purpose, token_hash = purpose_named(operation.data["purpose"]), operation.data["token_hash"]
    return token.use(act, stored=stored.get(_token(operation)), token_hash=token_hash, purpose=purpose)


def _recorded(act: Act, operation: Operation, stored: Stored, _workspace: Item) -> Sequence[Write]:
    data = operation.data
    return report(
        act,
        failures=stored.get(_lockout(operation)),
        action=action_named(data["action"]),
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
