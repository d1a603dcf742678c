"""Stripe webhooks and usage events into billing state, counters and an audit lake, exactly once.

What a service imports is here; every other module may move. Over HTTP, with a key and no right on a table:

    from nilometer import Client

    with Client() as client:
        if client.limits.check("acme", "api_calls"):
            client.usage.record("acme", "api_calls")

With rights on the tables and the bus:

    import nilometer

    stack = nilometer.connect()
    event = nilometer.recorded("req_42", source="/services/inference", workspace_id="acme", meter="api_calls", ...)
    nilometer.publish(stack.bus(), [event])

A name is imported when it is first used: `import nilometer` alone costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nilometer.aws.dynamodb import Store as Store
    from nilometer.aws.eventbridge import Bus as Bus
    from nilometer.aws.landing import Landing as Landing
    from nilometer.aws.s3 import Objects as Objects
    from nilometer.client import testing as testing
    from nilometer.client.aio.client import AsyncClient as AsyncClient
    from nilometer.client.client import Client as Client
    from nilometer.client.problem import EventsRejected as EventsRejected
    from nilometer.client.problem import LimitReached as LimitReached
    from nilometer.domain.access.report import ReportSecurity as ReportSecurity
    from nilometer.domain.access.session import OpenSession as OpenSession
    from nilometer.domain.access.session import RevokeSession as RevokeSession
    from nilometer.domain.access.token import IssueToken as IssueToken
    from nilometer.domain.access.token import TokenPurpose as TokenPurpose
    from nilometer.domain.access.token import UseToken as UseToken
    from nilometer.domain.acts.act import Caller as Caller
    from nilometer.domain.acts.act import operator as operator
    from nilometer.domain.acts.act import service as service
    from nilometer.domain.acts.deed import UNSAID as UNSAID
    from nilometer.domain.acts.deed import Deed as Deed
    from nilometer.domain.acts.roles import Permission as Permission
    from nilometer.domain.acts.roles import Role as Role
    from nilometer.domain.acts.security import Reported as Reported
    from nilometer.domain.billing.linking import LinkCustomer as LinkCustomer
    from nilometer.domain.lake.dataset import DeclareDataset as DeclareDataset
    from nilometer.domain.lake.dataset import DeclaredColumn as DeclaredColumn
    from nilometer.domain.lake.dataset_change import ChangeDataset as ChangeDataset
    from nilometer.domain.limits.own_deeds import GrantLimit as GrantLimit
    from nilometer.domain.limits.own_deeds import LimitRule as LimitRule
    from nilometer.domain.limits.own_deeds import OverrideLimit as OverrideLimit
    from nilometer.domain.notices.notification import Notify as Notify
    from nilometer.domain.notices.preference import Channel as Channel
    from nilometer.domain.notices.preference import SetPreference as SetPreference
    from nilometer.domain.notices.seen import ArchiveNotification as ArchiveNotification
    from nilometer.domain.notices.seen import ReadNotification as ReadNotification
    from nilometer.domain.notices.webhook import CreateWebhook as CreateWebhook
    from nilometer.domain.notices.webhook import DeleteWebhook as DeleteWebhook
    from nilometer.domain.notices.webhook import RotateWebhookSecret as RotateWebhookSecret
    from nilometer.domain.notices.webhook import UpdateWebhook as UpdateWebhook
    from nilometer.domain.people.attachment import Attach as Attach
    from nilometer.domain.people.attachment import AttachmentPurpose as AttachmentPurpose
    from nilometer.domain.people.attachment import RemoveAttachment as RemoveAttachment
    from nilometer.domain.people.flag import OverrideFlag as OverrideFlag
    from nilometer.domain.people.flag import SetFlag as SetFlag
    from nilometer.domain.people.invitation import AcceptInvitation as AcceptInvitation
    from nilometer.domain.people.invitation import DeclineInvitation as DeclineInvitation
    from nilometer.domain.people.invitation import Invite as Invite
    from nilometer.domain.people.invitation import ResendInvitation as ResendInvitation
    from nilometer.domain.people.invitation import RevokeInvitation as RevokeInvitation
    from nilometer.domain.people.membership import AddMember as AddMember
    from nilometer.domain.people.membership import ChangeRole as ChangeRole
    from nilometer.domain.people.membership import EndSessions as EndSessions
    from nilometer.domain.people.membership import RemoveMember as RemoveMember
    from nilometer.domain.people.onboarding import AdvanceOnboarding as AdvanceOnboarding
    from nilometer.domain.people.onboarding import Mark as Mark
    from nilometer.domain.people.policy import AcceptPolicy as AcceptPolicy
    from nilometer.domain.people.policy import Policy as Policy
    from nilometer.domain.people.policy import PublishPolicy as PublishPolicy
    from nilometer.domain.people.workspace import CreateWorkspace as CreateWorkspace
    from nilometer.domain.people.workspace import UpdateWorkspace as UpdateWorkspace
    from nilometer.domain.people.workspace import WorkspaceStatus as WorkspaceStatus
    from nilometer.domain.usage.meter_deeds import CreateMeter as CreateMeter
    from nilometer.domain.usage.meter_deeds import UpdateMeter as UpdateMeter
    from nilometer.errors import Cancelled as Cancelled
    from nilometer.errors import Misconfigured as Misconfigured
    from nilometer.errors import NilometerError as NilometerError
    from nilometer.errors import NotKnownYet as NotKnownYet
    from nilometer.errors import Refused as Refused
    from nilometer.errors import Rejected as Rejected
    from nilometer.errors import Unavailable as Unavailable
    from nilometer.flows.billing.reading import show_billing as show_billing
    from nilometer.flows.limits import own as own_limits  # noqa: F401  # of another name on purpose
    from nilometer.flows.limits.leasing import Lease as Lease
    from nilometer.flows.limits.reserving import release as release
    from nilometer.flows.limits.reserving import reserve as reserve
    from nilometer.flows.limits.thresholds import check as check
    from nilometer.flows.notices import notifications as notifications
    from nilometer.flows.notices import webhooks as webhooks
    from nilometer.flows.people import access as access
    from nilometer.flows.people import attachments as attachments
    from nilometer.flows.people import flags as flags
    from nilometer.flows.people import members as members
    from nilometer.flows.people import onboarding as onboarding
    from nilometer.flows.people import policies as policies
    from nilometer.flows.people import security as security
    from nilometer.flows.people import workspaces as workspaces
    from nilometer.flows.people.acting import Issued as Issued
    from nilometer.flows.people.acting import issue as issue
    from nilometer.flows.people.acting import perform as perform
    from nilometer.flows.publish import datasets as datasets
    from nilometer.flows.publish.usage import publish as publish
    from nilometer.flows.publish.usage import recorded as recorded
    from nilometer.flows.publish.usage import snapshot as snapshot
    from nilometer.flows.publish.usage import voided as voided
    from nilometer.flows.recovery.overview import usage_of as usage_of
    from nilometer.flows.usage.known import Known as Known
    from nilometer.local.plane.connect import ServiceStack as ServiceStack
    from nilometer.local.plane.connect import connect as connect

__version__ = "0.1.0"

_HOMES = {
    "aws.dynamodb": ("Store",),
    "aws.eventbridge": ("Bus",),
    "aws.landing": ("Landing",),
    "aws.s3": ("Objects",),
    "client.aio.client": ("AsyncClient",),
    "client.client": ("Client",),
    "client.problem": ("EventsRejected", "LimitReached"),
    "domain.access.report": ("ReportSecurity",),
    "domain.access.session": ("OpenSession", "RevokeSession"),
    "domain.access.token": ("IssueToken", "TokenPurpose", "UseToken"),
    "domain.acts.act": ("Caller", "operator", "service"),
    "domain.acts.deed": ("Deed", "UNSAID"),
    "domain.acts.roles": ("Permission", "Role"),
    "domain.acts.security": ("Reported",),
    "domain.billing.linking": ("LinkCustomer",),
    "domain.lake.dataset": ("DeclareDataset", "DeclaredColumn"),
    "domain.lake.dataset_change": ("ChangeDataset",),
    "domain.limits.own_deeds": ("GrantLimit", "LimitRule", "OverrideLimit"),
    "domain.notices.notification": ("Notify",),
    "domain.notices.seen": ("ArchiveNotification", "ReadNotification"),
    "domain.notices.preference": ("Channel", "SetPreference"),
    "domain.notices.webhook": ("CreateWebhook", "DeleteWebhook", "RotateWebhookSecret", "UpdateWebhook"),
    "domain.people.attachment": ("Attach", "AttachmentPurpose", "RemoveAttachment"),
    "domain.people.flag": ("OverrideFlag", "SetFlag"),
    "domain.people.invitation": (
        "AcceptInvitation",
        "DeclineInvitation",
        "Invite",
        "ResendInvitation",
        "RevokeInvitation",
    ),
    "domain.people.membership": ("AddMember", "ChangeRole", "EndSessions", "RemoveMember"),
    "domain.people.onboarding": ("AdvanceOnboarding", "Mark"),
    "domain.people.policy": ("AcceptPolicy", "Policy", "PublishPolicy"),
    "domain.people.workspace": ("CreateWorkspace", "UpdateWorkspace", "WorkspaceStatus"),
    "domain.usage.meter_deeds": ("CreateMeter", "UpdateMeter"),
    "errors": ("Cancelled", "Misconfigured", "NilometerError", "NotKnownYet", "Refused", "Rejected", "Unavailable"),
    "flows.billing.reading": ("show_billing",),
    "flows.limits.leasing": ("Lease",),
    "flows.limits.reserving": ("release", "reserve"),
    "flows.limits.thresholds": ("check",),
    "flows.people.acting": ("Issued", "issue", "perform"),
    "flows.publish.usage": ("publish", "recorded", "snapshot", "voided"),
    "flows.recovery.overview": ("usage_of",),
    "flows.usage.known": ("Known",),
    "local.plane.connect": ("ServiceStack", "connect"),
}
_MODULES = {
    "access": "flows.people.access",
    "attachments": "flows.people.attachments",
    "datasets": "flows.publish.datasets",
    "flags": "flows.people.flags",
    "members": "flows.people.members",
    "notifications": "flows.notices.notifications",
    "onboarding": "flows.people.onboarding",
    "own_limits": "flows.limits.own",
    "policies": "flows.people.policies",
    "security": "flows.people.security",
    "testing": "client.testing",
    "webhooks": "flows.notices.webhooks",
    "workspaces": "flows.people.workspaces",
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    """PEP 562: the public name, from the module that defines it."""
    if name in _MODULES:
        found: Any = import_module(f"nilometer.{_MODULES[name]}")
    elif name in _HOME_OF:
        found = getattr(import_module(f"nilometer.{_HOME_OF[name]}"), name)
    else:
        raise AttributeError(f"module 'nilometer' has no attribute {name!r}")
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULES, *_HOME_OF})
