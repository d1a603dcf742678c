"""The operational entities on one page, as data: what `docs/data.md` is made of.

Keys come from `domain.keys`, event types from the operations flow and permissions from `domain.roles`; a test sees to
it that every name here exists there.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Entity:
    """`rows` are names in the key table, `events` and `permissions` prefixes, `access` names of the package.

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
        ("read", "workspaces.workspace"),
        ("remove what is left", "workspaces.purge_workspace"),
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
        ("members of a workspace", "members.members"),
        ("workspaces of a user", "members.workspaces_of"),
    ),
    ends="40 days after it ended; until then a mark against late events",
    events=("member.",),
    permissions=("member.",),
)

INVITATION = Entity(
    name="Invitation",
    command="invite",
    kinds=("invitation", "invited"),
    meaning="An address may become a member, once: pending, accepted, declined, revoked or expired.",
    rows=("Invitation", "Pending invitations (TTL)"),
    access=(
        ("of a workspace", "members.invitations"),
        ("answer, by token", "members.accept_invitation, members.decline_invitation"),
    ),
    ends="valid for 7 days (at most 30), removed 30 days later",
    events=("invitation.",),
    permissions=("member.invite",),
)

TOKEN = Entity(
    name="One-time token",
    command="token",
    kinds=("token",),
    meaning="Proves one thing about one user, once: verification of an address, reset of a password.",
    rows=("One-time token",),
    access=(("use, by token", "access.use_token"),),
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
        ("who is it, by token", "access.authenticate"),
        ("of a member", "access.sessions"),
        ("end one by its id, one's own", "access.revoke_session, access.log_out"),
    ),
    ends="at most 30 days",
    events=("session.",),
    permissions=("session.",),
)

API_KEY = Entity(
    name="API key",
    command="key",
    kinds=("api_key",),
    meaning="A key of the HTTP API, of one workspace or of a service, with scopes; hashes of its secrets are stored.",
    rows=("API key",),
    access=(),
    ends="never: a revoked key, or one past its end, stays for the log and the audit, and opens nothing",
    permissions=("key.",),
)

SECURITY = Entity(
    name="Security log",
    command="security",
    kinds=("security", "lockout"),
    meaning="The security log of a workspace: logins, roles, tokens and keys, each entry written once; and who is "
    "locked out after five failures.",
    rows=("Security entry", "Lock-out after failures"),
    access=(
        ("by workspace and time", "security.entries"),
        ("by actor", "security.entries_by"),
        ("is he locked out", "security.locked_until"),
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
    access=(("of a person", "onboarding.progress"),),
    ends="180 days after the last step",
    events=("onboarding.",),
    permissions=("onboarding.",),
)

NOTIFICATION = Entity(
    name="Notification",
    command="notification",
    kinds=("notification", "unread"),
    meaning="Notifications of a person, one for each cause, unread, read or archived; the unread ones are counted.",
    rows=("Notification (TTL)", "Unread in a workspace (TTL)"),
    access=(
        ("of a person", "notifications.shown"),
        ("how many are unread", "notifications.unread"),
        ("read several, read all", "notifications.mark_read, notifications.mark_all_read"),
        ("put several away, put away all that is read", "notifications.archive, notifications.archive_all"),
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
    meaning="Which topics a person wants notifications of, on which channels, everywhere or in one workspace.",
    rows=("Notification preference",),
    access=(
        ("of a person", "notifications.preferences"),
        ("why a channel is on", "notifications.explain"),
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
        ("what is in force", "policies.in_force"),
        ("what a person has yet to accept", "policies.outstanding, policies.outstanding_of"),
        ("what a person accepted", "policies.acceptances, policies.acceptances_of"),
        ("who accepted a version", "policies.accepted_by"),
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
        ("evaluate, and why", "flags.explain, flags.explain_all"),
        ("is it on, many times a second", "flags.Flags"),
        ("who overrides", "flags.overrides"),
    ),
    rules="nilometer.domain.people.flag",
    ends="never",
    events=("flag.",),
    permissions=("flag.",),
)

ATTACHMENT = Entity(
    name="Attachment",
    command="attachment",
    kinds=("attachment", "attachment_sweep"),
    meaning="A large value (an avatar, an export, an attachment): up to 10 MB in S3, here no more than its reference. "
    "Exports are read by who may query. The object of a removed one is deleted by `nilometer attachment sweep`.",
    rows=("Attachment", "Sweep of an object (TTL)"),
    access=(
        ("add", "attachments.attach"),
        ("a signed address to upload to, and what follows it", "attachments.upload, attachments.attach_uploaded"),
        ("content, by hash", "attachments.fetch"),
        ("a signed address to download from", "attachments.download_url"),
        ("of a workspace, by purpose", "attachments.attached"),
    ),
    ends="never; the mark of a removed one after 30 days, that of a sweep after one",
    events=("attachment.",),
    permissions=("attachment.",),
)

DATASET = Entity(
    name="Dataset",
    command="datasets",
    kinds=("dataset",),
    meaning="A table of the lake that an internal service feeds in batches, by append or merge; see "
    "[the lake](lake.md#connector-datasets). Its record is the declaration, its rows are in Delta alone.",
    rows=("Dataset",),
    access=(("put a file or rows", "datasets.send_file, datasets.send_rows"),),
    rules="nilometer.domain.lake.dataset",
    ends="never",
    events=("dataset.",),
    permissions=("dataset.",),
)

CUSTOMER_LINK = Entity(
    name="Customer link",
    kinds=("link",),
    meaning="Which workspace a Stripe customer is billed for. Metadata at Stripe says it, or an operator, whose "
    "decision holds against metadata; of several decisions the newest holds. See [billing](billing.md).",
    rows=("Customer → workspace link",),
    access=(),
    ends="never",
    events=("billing.linked.",),
)

OWN_LIMITS = Entity(
    name="Own limits",
    command="limit",
    kinds=("limits",),
    meaning="Where a workspace differs from its plan: overrides of a meter's limit, and grants on top of it.",
    rows=("Own limits of a workspace",),
    access=(("limits in effect, and why", "own_limits.limits_of"),),
    rules="nilometer.domain.limits.own",
    ends="never; an override or a grant holds until the end that it was given",
    events=("limit.",),
    permissions=("limit.",),
)

WEBHOOK = Entity(
    name="Webhook",
    command="webhook",
    kinds=("webhooks",),
    meaning="An HTTPS endpoint to which a workspace's announcements are posted, signed; its secret is derived and not "
    "stored. See [webhooks](webhooks.md).",
    rows=("Webhooks of a workspace",),
    access=(("of a workspace", "webhooks.webhooks"),),
    rules="nilometer.domain.notices.webhook",
    announces=("webhook.disabled.v1",),
    ends="never; off after five days of failures, until it is switched on again",
    events=("webhook.",),
    permissions=("webhook.",),
)

METER = Entity(
    name="Meter",
    command="meter",
    kinds=("meter",),
    meaning="What is counted, in which unit; see usage.",
    rows=("Meter",),
    access=(
        ("may it be used", "check"),
        ("hold, give back", "reserve, release"),
    ),
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
    API_KEY,
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
    WEBHOOK,
    METER,
)
