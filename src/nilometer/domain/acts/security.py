"""The security log of a workspace: logins, roles, tokens and keys, each entry written once and never changed.

An entry says who, what, to whom and when. It holds no token, hash, address or text of a person.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from nilometer.domain.acts.act import Act, checked_id
from nilometer.domain.acts.roles import Role
from nilometer.domain.store import keys
from nilometer.domain.store.times import epoch, rfc3339
from nilometer.domain.store.writes import Absent, Item, Put, Table, new_item
from nilometer.errors import Rejected

KEPT = timedelta(days=400)  # the lake keeps all
_REASON = re.compile(r"[a-z0-9_.]{1,64}")


class SecurityAction(StrEnum):
    """`action` of a security entry. Stored, and in the lake: a value is never renamed."""

    LOGIN = "login"
    LOGIN_FAILED = "login_failed"
    LOGOUT = "logout"
    LOCKED_OUT = "locked_out"
    MEMBER_ADDED = "member_added"
    MEMBER_REMOVED = "member_removed"
    ROLE_CHANGED = "role_changed"
    INVITATION_CREATED = "invitation_created"
    INVITATION_ACCEPTED = "invitation_accepted"
    INVITATION_DECLINED = "invitation_declined"
    INVITATION_REVOKED = "invitation_revoked"
    INVITATION_RESENT = "invitation_resent"
    TOKEN_ISSUED = "token_issued"  # noqa: S105  # what was done, not a token
    TOKEN_USED = "token_used"  # noqa: S105  # the name of an event, no secret
    SESSION_REVOKED = "session_revoked"
    SESSIONS_REVOKED = "sessions_revoked"
    KEY_CREATED = "key_created"
    KEY_USED = "key_used"
    KEY_REVOKED = "key_revoked"
    WORKSPACE_DELETED = "workspace_deleted"
    WORKSPACE_RESTORED = "workspace_restored"


class Reported(StrEnum):
    """What services report; the other entries are written with the change that they report."""

    LOGIN = "login"
    LOGIN_FAILED = "login_failed"
    LOGOUT = "logout"
    KEY_CREATED = "key_created"
    KEY_USED = "key_used"
    KEY_REVOKED = "key_revoked"


@dataclass(frozen=True, slots=True, kw_only=True)
class SecurityEntry:
    """`subject` is the user whom it concerns; `object_id` what was used or changed: a session, an invitation, a key."""

    id: str
    workspace_id: str
    action: SecurityAction
    actor: str
    subject: str | None
    object_id: str | None
    role: Role | None
    role_before: Role | None
    reason: str | None
    time: str


def entry(
    act: Act,
    action: SecurityAction,
    *,
    subject: str | None = None,
    object_id: str | None = None,
    role: Role | None = None,
    role_before: Role | None = None,
    reason: str | None = None,
    actor: str | None = None,
) -> Put:
    """Its id follows from the act, so that it cannot be written twice.

    `Rejected` for a reason that is a text and no code: texts may hold anything, and the log reaches the lake.
    """
    if reason is not None and not _REASON.fullmatch(reason):
        raise Rejected("invalid_schema", "a reason is a code like wrong_password: a-z, 0-9, _ and ., at most 64")
    who = actor or act.caller.user_id
    ulid = act.new_id(f"security {action} {subject}")
    key = keys.security(act.workspace_id, ulid)
    item = new_item(
        key,
        "security",
        gsi1pk=keys.actor(who),
        gsi1sk=ulid,
        entry_id=ulid,
        workspace_id=act.workspace_id,
        action=str(action),
        subject=checked_id(subject) if subject else None,
        object_id=checked_id(object_id) if object_id else None,
        role=str(role) if role else None,
        role_before=str(role_before) if role_before else None,
        reason=reason,
        time=rfc3339(act.happened),
        updated_at=rfc3339(act.now),
        cause=act.cause,
        actor=who,
        expires_at=epoch(max(act.happened, act.now) + KEPT),
    )
    return Put(table=Table.RECORDS, item=item, expected=Absent())


def entry_of(item: Item) -> SecurityEntry:
    """From the item in the records table. `KeyError` or `ValueError` when it is not a security entry."""
    return SecurityEntry(
        id=item["entry_id"],
        workspace_id=item["workspace_id"],
        action=SecurityAction(item["action"]),
        actor=item["actor"],
        subject=item["subject"],
        object_id=item["object_id"],
        role=Role(item["role"]) if item["role"] else None,
        role_before=Role(item["role_before"]) if item["role_before"] else None,
        reason=item["reason"],
        time=item["time"],
    )
