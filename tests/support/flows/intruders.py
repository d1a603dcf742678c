"""Callers who must not get into a workspace, and what they try."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from tests.support.flows.operations import NOW
from tests.support.people import member

from nilometer.domain.access.token import Purpose
from nilometer.domain.acts.act import Caller, service
from nilometer.domain.acts.roles import Role
from nilometer.domain.acts.security import Reported
from nilometer.flows.people import access, security, workspaces
from nilometer.flows.people import members as people

LATER = NOW + timedelta(minutes=1)


OPENED = {"name": "Evil", "slug": "acme", "admin": "bob"}


# What an Admin of `theirs`, or a service in it, tries with the names of `ours`.
ATTEMPTS: dict[Callable[..., Any], dict[str, Any]] = {
    people.members: {},
    people.add_member: {"user_id": "bob", "role": Role.VIEWER, "now": LATER},
    people.change_role: {"user_id": "bob", "role": Role.VIEWER, "now": LATER},
    people.remove_member: {"user_id": "bob", "now": LATER},
    people.invitations: {"now": LATER},
    people.invite: {"email": "x@example.com", "role": Role.ADMIN, "now": LATER},
    people.resend_invitation: {"invitation_id": "OURS", "now": LATER},
    people.revoke_invitation: {"invitation_id": "OURS", "now": LATER},
    access.open_session: {"user_id": "bob", "now": LATER},
    access.sessions: {"user_id": "bob", "now": LATER},
    access.revoke_session: {"session_id": "OURS", "user_id": "bob", "now": LATER},
    access.revoke_sessions: {"user_id": "bob", "now": LATER},
    access.issue_token: {"user_id": "bob", "purpose": Purpose.PASSWORD_RESET, "now": LATER},
    security.report: {"action": Reported.LOGIN_FAILED, "user_id": "bob", "now": LATER},
    security.entries: {"now": LATER},
    security.entries_by: {"actor": "bob", "now": LATER},
    security.locked_until: {"user_id": "bob", "now": LATER},
    workspaces.open_workspace: {**OPENED, "now": LATER},
    workspaces.workspace: {},
    workspaces.update_workspace: {"name": "Evil", "slug": "acme", "now": LATER},
    workspaces.delete_workspace: {"now": LATER},
    workspaces.restore_workspace: {"now": LATER},
    workspaces.purge_workspace: {"now": LATER},
}


def intruders() -> list[Caller]:
    return [
        member("mallory", Role.ADMIN, "theirs"),  # an Admin next door
        service("theirs", "services"),  # a service at work next door
        member("mallory", Role.ADMIN, "ours"),  # who says that he is one of us
        member("bob", Role.ADMIN, "theirs"),  # one of us who says that he is Admin there
    ]
