"""The operational entities on one page, as data: what `docs/data.md` is made of.

Keys come from `domain.keys`, event types from the operations flow and permissions from `domain.roles`; a test sees to
it that every name here exists there.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Entity:
    """`rows` are names in the key table, `events` and `permissions` prefixes, `access` functions of `flows`.

    `announces` are events that its changes put on the bus. `command` is a group of the command line.
    """

    name: str
    kinds: tuple[str, ...]
    meaning: str
    rows: tuple[str, ...]
    access: tuple[tuple[str, str], ...]
    ends: str
    events: tuple[str, ...] = ()
    permissions: tuple[str, ...] = ()
    announces: tuple[str, ...] = ()
    command: str | None = None
    rules: str = ""
    """The module whose docstring draws what decides."""


WORKSPACE = Entity(
    name="Workspace",
    command="workspace",
    kinds=("workspace", "slug"),
    meaning="The tenant. Its slug is a record of its own, so that no two have the same.",
    rows=("Workspace", "Slug of a workspace"),
    access=(
        ("open with its first Admin", "people.workspaces.open_workspace"),
        ("read", "people.workspaces.workspace"),
        ("change name or slug", "people.workspaces.update_workspace"),
        ("delete, restore", "people.workspaces.delete_workspace, people.workspaces.restore_workspace"),
        ("remove what is left", "people.workspaces.purge_workspace"),
    ),
    ends="never; a deleted one can be restored for 30 days, then its slug expires",
    events=("workspace.",),
    permissions=("workspace.",),
)

MEMBERSHIP = Entity(
    name="Membership",
    command="member",
    kinds=("membership",),
    meaning="One user in one workspace, with a role. The workspace counts its Admins and keeps the last one.",
    rows=("Membership", "Membership, active"),
    access=(
        ("members of a workspace", "people.members.members"),
        ("workspaces of a user", "people.members.workspaces_of"),
        ("add, change, remove", "people.members.add_member, people.members.change_role, people.members.remove_member"),
    ),
    ends="40 days after it ended; until then a mark against late events",
    events=("member.",),
    permissions=("member.",),
)

INVITATION = Entity(
    name="Invitation",
    command="invite",
    kinds=("invitation",),
    meaning="An address may become a member, once: pending, accepted, declined, revoked or expired.",
    rows=("Invitation",),
    access=(
        ("of a workspace", "people.members.invitations"),
        (
            "create, send again, revoke",
            "people.members.invite, people.members.resend_invitation, people.members.revoke_invitation",
        ),
        ("answer, by token", "people.members.accept_invitation, people.members.decline_invitation"),
    ),
    ends="valid for 7 days, removed 30 days later",
    events=("invitation.",),
    permissions=("member.invite",),
)

TOKEN = Entity(
    name="One-time token",
    command="token",
    kinds=("token",),
    meaning="Proves one thing about one user, once: verification of an address, reset of a password.",
    rows=("One-time token",),
    access=(("issue", "people.access.issue_token"), ("use, by token", "people.access.use_token")),
    ends="1 day (verification), 1 hour (reset)",
    events=("token.",),
    permissions=("token.",),
)

SESSION = Entity(
    name="Session",
    command="session",
    kinds=("session",),
    meaning="A user at work in one workspace. Valid only as long as the membership is.",
    rows=("Session",),
    access=(
        ("open", "people.access.open_session"),
        ("who is it, by token", "people.access.authenticate"),
        ("of a member", "people.access.sessions"),
        (
            "end one, all, one's own",
            "people.access.revoke_session, people.access.revoke_sessions, people.access.log_out",
        ),
    ),
    ends="at most 30 days",
    events=("session.",),
    permissions=("session.",),
)

SECURITY = Entity(
    name="Security log",
    command="security",
    kinds=("security", "lockout"),
    meaning="What was done to a workspace's doors, written once; and who is locked out after five failures.",
    rows=("Security entry", "Lock-out after failures"),
    access=(
        ("by workspace and time", "people.security.entries"),
        ("by actor", "people.security.entries_by"),
        ("report", "people.security.report"),
        ("is he locked out", "people.security.locked_until"),
    ),
    ends="entries 400 days (the lake keeps all), a lock-out 15 minutes, its record 1 day",
    events=("security.",),
    announces=("security.locked_out.v1",),
    permissions=("security.",),
)

ONBOARDING = Entity(
    name="Onboarding",
    command="onboarding",
    kinds=("onboarding",),
    meaning="How far a user is in a tutorial of a workspace.",
    rows=("Onboarding (TTL)",),
    access=(("advance", "people.onboarding.advance"), ("of a person", "people.onboarding.progress")),
    ends="180 days after the last step",
    events=("onboarding.",),
    permissions=("onboarding.",),
)

NOTIFICATION = Entity(
    name="Notification",
    command="notification",
    kinds=("notification", "unread"),
    meaning="What a person is told, once a cause, and whether it was read; counted while unread.",
    rows=("Notification (TTL)", "Unread in a workspace (TTL)"),
    access=(
        ("tell", "notices.notifications.notify"),
        ("of a person", "notices.notifications.shown"),
        ("how many are unread", "notices.notifications.unread"),
        ("read", "notices.notifications.mark_read, notices.notifications.mark_all_read"),
        ("tell what the system itself noticed", "notices.batch.handle"),
    ),
    rules="nilometer.domain.notices.notice",
    ends="90 days, at midnight UTC",
    events=("notification.",),
    permissions=("notification.",),
)

PREFERENCE = Entity(
    name="Notification preference",
    command="notification",
    kinds=("preference",),
    meaning="Which topics a person wants to hear of, on which channels, everywhere or in one workspace.",
    rows=("Notification preference",),
    access=(
        ("say", "notices.notifications.prefer"),
        ("of a person", "notices.notifications.preferences"),
        ("why a channel is on", "notices.notifications.explain"),
    ),
    rules="nilometer.domain.notices.preference",
    ends="never",
    events=("preference.",),
)

POLICY = Entity(
    name="Policy",
    command="policy",
    kinds=("policy", "acceptance"),
    meaning="Versions of privacy policy, terms and cookies, and who accepted which. Acceptances never change.",
    rows=("Policy version", "Policy acceptance"),
    access=(
        ("publish", "people.policies.publish"),
        ("what is in force", "people.policies.in_force"),
        ("accept", "people.policies.accept"),
        ("what a person has yet to accept", "people.policies.outstanding, people.policies.outstanding_of"),
        ("what a person accepted", "people.policies.acceptances, people.policies.acceptances_of"),
        ("who accepted a version", "people.policies.accepted_by"),
    ),
    ends="never",
    events=("policy.",),
    permissions=("policy.",),
)

FLAG = Entity(
    name="Feature flag",
    command="flag",
    kinds=("flag", "flag_override"),
    meaning="A switch with a global default, a share of the workspaces, or one workspace's own setting.",
    rows=("Feature flag", "Flag override", "Flag override, in effect"),
    access=(
        ("set", "people.flags.set_flag"),
        ("set for one workspace", "people.flags.override"),
        ("evaluate, and why", "people.flags.explain, people.flags.explain_all"),
        ("is it on, many times a second", "people.flags.Flags"),
        ("who overrides", "people.flags.overrides"),
    ),
    rules="nilometer.domain.people.flag",
    ends="never",
    events=("flag.",),
    permissions=("flag.",),
)

ATTACHMENT = Entity(
    name="Attachment",
    command="attachment",
    kinds=("attachment",),
    meaning="A large value (an avatar, an export, an attachment): up to 10 MB in S3, here no more than its reference. "
    "Exports are read by who may query.",
    rows=("Attachment",),
    access=(
        ("add", "people.attachments.attach"),
        ("content, by hash", "people.attachments.fetch"),
        ("of a workspace, by purpose", "people.attachments.attached"),
    ),
    ends="never",
    permissions=("attachment.",),
)

DATASET = Entity(
    name="Dataset",
    command="datasets",
    kinds=("dataset",),
    meaning="A table of the lake that an internal service feeds in batches, by append or merge; see "
    "[the lake](lake.md#connector-datasets). Its record is the declaration, its rows are in Delta alone.",
    rows=("Dataset",),
    access=(
        ("declare, add columns", "lake.declaring.declare"),
        ("what is declared", "lake.declaring.declared, lake.declaring.all_datasets"),
    ),
    rules="nilometer.domain.lake.dataset",
    ends="never",
    events=("dataset.",),
    permissions=("dataset.",),
)

CUSTOMER_LINK = Entity(
    name="Customer link",
    kinds=("link",),
    meaning="Which workspace a Stripe customer is billed for. Metadata at Stripe says it, or an operator, who is right "
    "when both do; of several words of operators the newest holds. See [billing](billing.md).",
    rows=("Customer → workspace link",),
    access=(("link", "operations.billing.link_customer"),),
    ends="never",
    events=("billing.linked.",),
)

OWN_LIMITS = Entity(
    name="Own limits",
    command="limit",
    kinds=("limits",),
    meaning="Where a workspace differs from its plan: overrides of a meter's limit, and grants on top of it.",
    rows=("Own limits of a workspace",),
    access=(
        ("override", "limits.own.override"),
        ("grant", "limits.own.grant"),
        ("limits in effect, and why", "limits.own.limits_of"),
    ),
    rules="nilometer.domain.limits.own",
    ends="never; an override or a grant holds until the end that it was given",
    events=("limit.",),
    permissions=("limit.",),
)

METER = Entity(
    name="Meter",
    command="meter",
    kinds=("meter",),
    meaning="What is counted, in which unit; see usage.",
    rows=("Meter",),
    access=(("create", "operations.batch.create_meter"), ("update", "operations.batch.update_meter")),
    ends="never",
    events=("meter.",),
    permissions=("meter.",),
)

ENTITIES = (
    WORKSPACE,
    MEMBERSHIP,
    INVITATION,
    TOKEN,
    SESSION,
    SECURITY,
    ONBOARDING,
    NOTIFICATION,
    PREFERENCE,
    POLICY,
    FLAG,
    ATTACHMENT,
    DATASET,
    CUSTOMER_LINK,
    OWN_LIMITS,
    METER,
)
