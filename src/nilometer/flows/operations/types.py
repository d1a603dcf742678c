"""Every event type that services report deeds by, with its deed, which is imported when the first such event comes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache
from importlib import import_module
from typing import Any

from nilometer.domain.acts.deed import Deed, Reach
from nilometer.flows.inbox.wire import Data, data_type

_DEEDS: Mapping[str, str] = {
    "workspace.created.v1": "people.workspace:CreateWorkspace",
    "workspace.updated.v1": "people.workspace:UpdateWorkspace",
    "meter.created.v1": "usage.meter_deeds:CreateMeter",
    "meter.updated.v1": "usage.meter_deeds:UpdateMeter",
    "member.added.v1": "people.membership:AddMember",
    "member.role_changed.v1": "people.membership:ChangeRole",
    "member.removed.v1": "people.membership:RemoveMember",
    "invitation.created.v1": "people.invitation:Invite",
    "invitation.resent.v1": "people.invitation:ResendInvitation",
    "invitation.accepted.v1": "people.invitation:AcceptInvitation",
    "invitation.declined.v1": "people.invitation:DeclineInvitation",
    "invitation.revoked.v1": "people.invitation:RevokeInvitation",
    "session.created.v1": "access.session:OpenSession",
    "session.revoked.v1": "access.session:RevokeSession",
    "session.all_revoked.v1": "people.membership:EndSessions",
    "token.issued.v1": "access.token:IssueToken",
    "token.used.v1": "access.token:UseToken",
    "security.event_recorded.v1": "access.report:ReportSecurity",
    "notification.requested.v1": "notices.notification:Notify",
    "notification.read.v1": "notices.seen:ReadNotification",
    "notification.archived.v1": "notices.seen:ArchiveNotification",
    "preference.set.v1": "notices.preference:SetPreference",
    "policy.published.v1": "people.policy:PublishPolicy",
    "policy.accepted.v1": "people.policy:AcceptPolicy",
    "flag.set.v1": "people.flag:SetFlag",
    "flag.overridden.v1": "people.flag:OverrideFlag",
    "dataset.declared.v1": "lake.dataset:DeclareDataset",
    "dataset.changed.v1": "lake.dataset_change:ChangeDataset",
    "limit.overridden.v1": "limits.own_deeds:OverrideLimit",
    "limit.granted.v1": "limits.own_deeds:GrantLimit",
    "attachment.removed.v1": "people.attachment:RemoveAttachment",
    "onboarding.advanced.v1": "people.onboarding:AdvanceOnboarding",
    "webhook.created.v1": "notices.webhook:CreateWebhook",
    "webhook.updated.v1": "notices.webhook:UpdateWebhook",
    "webhook.rotated.v1": "notices.webhook:RotateWebhookSecret",
    "webhook.deleted.v1": "notices.webhook:DeleteWebhook",
    "billing.linked.v1": "billing.linking:LinkCustomer",
}


class DeedTypes(Mapping[str, type[Deed[Any]]]):
    """The deed of each event type."""

    def __getitem__(self, event_type: str) -> type[Deed[Any]]:
        return _imported(_DEEDS[event_type])

    def __contains__(self, event_type: object) -> bool:
        return event_type in _DEEDS

    def __iter__(self) -> Iterator[str]:
        return iter(_DEEDS)

    def __len__(self) -> int:
        return len(_DEEDS)


TYPES: Mapping[str, type[Deed[Any]]] = DeedTypes()


@cache
def _imported(place: str) -> type[Deed[Any]]:
    module, _, name = place.partition(":")
    deed: type[Deed[Any]] = getattr(import_module(f"nilometer.domain.{module}"), name)
    return deed


def has_workspace(deed: type[Deed[Any]]) -> bool:
    """Whether the event must name its workspace: no other part of an event can."""
    return deed.reach in {Reach.OPEN, Reach.WORKSPACE}


def data_of(event_type: str) -> type[Data]:
    """What decodes the data of such events: `MemberAdded` for `member.added.v1`."""
    words = re.split(r"[._]", event_type.removesuffix(".v1"))
    deed: Any = TYPES[event_type]
    return data_type("".join(word.capitalize() for word in words), deed)
