"""Callers who must not get into a workspace, and what they try."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

from tests.support.flows.operations import NOW
from tests.support.people import member

from nilometer import (
    AcceptInvitation,
    AcceptPolicy,
    AddMember,
    AdvanceOnboarding,
    ArchiveNotification,
    AttachmentPurpose,
    Caller,
    ChangeDataset,
    ChangeRole,
    Channel,
    CreateMeter,
    CreateWebhook,
    CreateWorkspace,
    DeclareDataset,
    DeclaredColumn,
    DeclineInvitation,
    Deed,
    DeleteWebhook,
    EndSessions,
    GrantLimit,
    Invite,
    IssueToken,
    LimitRule,
    LinkCustomer,
    Notify,
    OpenSession,
    OverrideFlag,
    OverrideLimit,
    Policy,
    PublishPolicy,
    ReadNotification,
    RemoveAttachment,
    RemoveMember,
    Reported,
    ReportSecurity,
    ResendInvitation,
    RevokeInvitation,
    RevokeSession,
    Role,
    RotateWebhookSecret,
    SetFlag,
    SetPreference,
    TokenPurpose,
    UpdateMeter,
    UpdateWebhook,
    UpdateWorkspace,
    UseToken,
    service,
)
from nilometer.flows.notices import webhooks
from nilometer.flows.people import access, security, workspaces
from nilometer.flows.people import members as people

LATER = NOW + timedelta(minutes=1)


# What an Admin of `theirs`, or a service in it, asks with the names of `ours`.
ATTEMPTS: dict[Callable[..., Any], dict[str, Any]] = {
    people.members: {},
    people.invitations: {"now": LATER},
    access.sessions: {"user_id": "bob", "now": LATER},
    access.revoke_session: {"session_id": "OURS", "user_id": "bob", "now": LATER},
    security.entries: {"now": LATER},
    security.entries_after: {"after": "", "now": LATER, "limit": 9},
    security.entries_by: {"actor": "bob", "now": LATER},
    security.locked_until: {"user_id": "bob", "now": LATER},
    workspaces.workspace: {},
    webhooks.webhooks: {},
    workspaces.purge_workspace: {"now": LATER},
}


def deeds(names: Mapping[str, str]) -> list[Deed[Any]]:
    """What he tries to do with them; one of every deed that there is."""
    invited, session, token = names["invitation_id"], names["session_hash"], names["token_hash"]
    reset = TokenPurpose.PASSWORD_RESET
    return [
        AddMember(user_id="bob", role=Role.VIEWER),
        ChangeRole(user_id="bob", role=Role.VIEWER),
        RemoveMember(user_id="bob"),
        EndSessions(user_id="bob"),
        Invite(email="x@example.com", role=Role.ADMIN),
        ResendInvitation(invitation_id=invited),
        RevokeInvitation(invitation_id=invited),
        AcceptInvitation(invitation_id=invited, user_id="mallory"),
        DeclineInvitation(invitation_id=invited),
        OpenSession(user_id="bob"),
        RevokeSession(session_hash=session),
        IssueToken(user_id="bob", purpose=reset),
        UseToken(token_hash=token, purpose=reset),
        ReportSecurity(action=Reported.LOGIN_FAILED, user_id="bob"),
        CreateWorkspace(name="Evil", slug="acme", admin="bob"),
        UpdateWorkspace(name="Evil", slug="acme"),
        UpdateWorkspace(status="deleted"),
        UpdateWorkspace(status="active"),
        Notify(user_id="bob", topic="exports.ready", title="Evil"),
        ReadNotification(user_id="bob", notification_id=names["notification_id"]),
        ArchiveNotification(user_id="bob", notification_id=names["notification_id"]),
        SetPreference(user_id="bob", topic="*", channels={Channel.EMAIL: False}),
        AcceptPolicy(user_id="bob", policy=Policy.TERMS, version=1),
        OverrideFlag(flag="exports", enabled=False),
        OverrideLimit(meter="calls", limit=LimitRule(included="1")),
        GrantLimit(meter="calls", grant="g", amount="1"),
        RemoveAttachment(purpose=AttachmentPurpose.EXPORT, sha256="ab" * 32),
        AdvanceOnboarding(user_id="bob", tutorial="start", step="connect"),
        CreateWebhook(webhook_id=names["webhook_id"], url="https://evil.example.com/"),
        UpdateWebhook(webhook_id=names["webhook_id"], url="https://evil.example.com/"),
        RotateWebhookSecret(webhook_id=names["webhook_id"]),
        DeleteWebhook(webhook_id=names["webhook_id"]),
        LinkCustomer(customer="cus_1"),
        SetFlag(flag="evil", enabled=True),
        PublishPolicy(policy=Policy.TERMS, version=2, url="https://x", content_sha256="ab" * 32, effective_at=NOW),
        CreateMeter(meter="evil", unit="call", aggregation="sum"),
        UpdateMeter(meter="evil", active=False),
        ChangeDataset(dataset="evil", status="dropped"),
        DeclareDataset(dataset="evil", mode="append", columns=[DeclaredColumn(name="id", type="string")]),
    ]


def intruders() -> list[Caller]:
    return [
        member("mallory", Role.ADMIN, "theirs"),  # an Admin next door
        service("theirs", "services"),  # a service at work next door
        member("mallory", Role.ADMIN, "ours"),  # who says that he is one of us
        member("bob", Role.ADMIN, "theirs"),  # one of us who says that he is Admin there
    ]
