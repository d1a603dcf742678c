"""Who may do what: the permission matrix, on one page.

A role has the permissions of its column. What no role has (`-`), only our own services and operators may do.
Nobody grants, changes or removes a role that is not below his own, except Admins, who are among equals.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class Role(StrEnum):
    """In falling order."""

    ADMIN = "Admin"
    MANAGER = "Manager"
    ANALYST = "Analyst"
    VIEWER = "Viewer"


class Permission(StrEnum):
    """`subject.verb`: what a caller wants to do in his workspace."""

    WORKSPACE_VIEW = "workspace.view"
    WORKSPACE_UPDATE = "workspace.update"
    WORKSPACE_DELETE = "workspace.delete"
    WORKSPACE_CREATE = "workspace.create"
    MEMBER_VIEW = "member.view"
    MEMBER_INVITE = "member.invite"
    MEMBER_ADD = "member.add"
    MEMBER_CHANGE = "member.change"
    MEMBER_REMOVE = "member.remove"
    SESSION_CREATE = "session.create"
    SESSION_MANAGE = "session.manage"
    TOKEN_ISSUE = "token.issue"  # noqa: S105  # the name of a permission
    SECURITY_VIEW = "security.view"
    SECURITY_RECORD = "security.record"
    BILLING_VIEW = "billing.view"
    BILLING_MANAGE = "billing.manage"
    USAGE_VIEW = "usage.view"
    HISTORY_QUERY = "history.query"
    METER_MANAGE = "meter.manage"
    LIMIT_VIEW = "limit.view"
    LIMIT_MANAGE = "limit.manage"
    FLAG_VIEW = "flag.view"
    FLAG_MANAGE = "flag.manage"
    DATASET_DECLARE = "dataset.declare"
    POLICY_ACCEPT = "policy.accept"
    POLICY_PUBLISH = "policy.publish"
    NOTIFICATION_VIEW = "notification.view"
    NOTIFICATION_SEND = "notification.send"
    ONBOARDING_UPDATE = "onboarding.update"
    ATTACHMENT_VIEW = "attachment.view"
    ATTACHMENT_ADD = "attachment.add"
    ATTACHMENT_REMOVE = "attachment.remove"
    KEY_MANAGE = "key.manage"
    WEBHOOK_MANAGE = "webhook.manage"


_PAGE: Final = """
                    Admin  Manager  Analyst  Viewer
workspace.view      x      x        x        x
workspace.update    x      x        -        -
workspace.delete    x      -        -        -
workspace.create    -      -        -        -
member.view         x      x        x        x
member.invite       x      x        -        -
member.add          -      -        -        -
member.change       x      x        -        -
member.remove       x      x        -        -
session.create      -      -        -        -
session.manage      x      -        -        -
token.issue         -      -        -        -
security.view       x      -        -        -
security.record     -      -        -        -
billing.view        x      x        x        -
billing.manage      x      -        -        -
usage.view          x      x        x        x
history.query       x      x        x        -
meter.manage        x      x        -        -
limit.view          x      x        x        x
limit.manage        -      -        -        -
flag.view           x      x        x        x
flag.manage         x      x        -        -
dataset.declare     -      -        -        -
policy.accept       x      x        x        x
policy.publish      -      -        -        -
notification.view   x      x        x        x
notification.send   -      -        -        -
onboarding.update   x      x        x        x
attachment.view     x      x        x        x
attachment.add      x      x        x        x
attachment.remove   x      x        -        -
key.manage          x      -        -        -
webhook.manage      x      -        -        -
"""


def _matrix(page: str) -> dict[Role, frozenset[Permission]]:
    head, *lines = page.strip().splitlines()
    roles = [Role(name) for name in head.split()]
    rows = {Permission(line.split()[0]): line.split()[1:] for line in lines}
    return {role: frozenset(p for p, marks in rows.items() if marks[n] == "x") for n, role in enumerate(roles)}


MATRIX: Final = _matrix(_PAGE)


def below(role: Role, other: Role) -> bool:
    """Whether `role` has less power than `other`. False for equal roles."""
    order = list(Role)
    return order.index(role) > order.index(other)


def may_rule(ruler: Role, ruled: Role) -> bool:
    """Whether one of role `ruler` may give, change or take the role `ruled`."""
    return ruler is Role.ADMIN or below(ruled, ruler)
