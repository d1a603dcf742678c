"""Every event type that services report deeds by, with its deed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from nilometer.domain.access.report import ReportSecurity
from nilometer.domain.access.session import OpenSession, RevokeSession
from nilometer.domain.access.token import IssueToken, UseToken
from nilometer.domain.acts.deed import Deed, Reach
from nilometer.domain.billing.linking import LinkCustomer
from nilometer.domain.lake.dataset import DeclareDataset
from nilometer.domain.limits.own import GrantLimit, OverrideLimit
from nilometer.domain.notices.notification import Notify, ReadNotification
from nilometer.domain.notices.preference import SetPreference
from nilometer.domain.people.flag import OverrideFlag, SetFlag
from nilometer.domain.people.invitation import (
    AcceptInvitation,
    DeclineInvitation,
    Invite,
    ResendInvitation,
    RevokeInvitation,
)
from nilometer.domain.people.membership import AddMember, ChangeRole, EndSessions, RemoveMember
from nilometer.domain.people.onboarding import AdvanceOnboarding
from nilometer.domain.people.policy import AcceptPolicy, PublishPolicy
from nilometer.domain.people.workspace import CreateWorkspace, UpdateWorkspace
from nilometer.domain.usage.meter import CreateMeter, UpdateMeter
from nilometer.flows.inbox.wire import Data, data_type

TYPES: Mapping[str, type[Deed[Any]]] = {
    "workspace.created.v1": CreateWorkspace,
    "workspace.updated.v1": UpdateWorkspace,
    "meter.created.v1": CreateMeter,
    "meter.updated.v1": UpdateMeter,
    "member.added.v1": AddMember,
    "member.role_changed.v1": ChangeRole,
    "member.removed.v1": RemoveMember,
    "invitation.created.v1": Invite,
    "invitation.resent.v1": ResendInvitation,
    "invitation.accepted.v1": AcceptInvitation,
    "invitation.declined.v1": DeclineInvitation,
    "invitation.revoked.v1": RevokeInvitation,
    "session.created.v1": OpenSession,
    "session.revoked.v1": RevokeSession,
    "session.all_revoked.v1": EndSessions,
    "token.issued.v1": IssueToken,
    "token.used.v1": UseToken,
    "security.event_recorded.v1": ReportSecurity,
    "notification.requested.v1": Notify,
    "notification.read.v1": ReadNotification,
    "preference.set.v1": SetPreference,
    "policy.published.v1": PublishPolicy,
    "policy.accepted.v1": AcceptPolicy,
    "flag.set.v1": SetFlag,
    "flag.overridden.v1": OverrideFlag,
    "dataset.declared.v1": DeclareDataset,
    "limit.overridden.v1": OverrideLimit,
    "limit.granted.v1": GrantLimit,
    "onboarding.advanced.v1": AdvanceOnboarding,
    "billing.linked.v1": LinkCustomer,
}


def has_workspace(deed: type[Deed[Any]]) -> bool:
    """Whether the event must name its workspace: no other part of an event can."""
    return deed.reach in {Reach.OPEN, Reach.WORKSPACE}


def data_of(event_type: str) -> type[Data]:
    """What decodes the data of such events: `MemberAdded` for `member.added.v1`."""
    words = re.split(r"[._]", event_type.removesuffix(".v1"))
    deed: Any = TYPES[event_type]
    return data_type("".join(word.capitalize() for word in words), deed)
