"""The permission matrix and who rules whom."""

from __future__ import annotations

import pytest
from tests.support.acts import member

from nilometer.domain.acts.act import service
from nilometer.domain.acts.roles import MATRIX, Permission, Role, may_rule
from nilometer.errors import Refused


def test_the_page_is_complete() -> None:
    """Every permission has a line, every role a column, and a higher role has all that a lower one has."""
    assert list(MATRIX) == list(Role)
    for higher, lower in zip(list(Role), list(Role)[1:], strict=False):
        assert MATRIX[lower] < MATRIX[higher]


def test_what_nobody_has_is_for_services() -> None:
    """Nobody makes himself a member, opens his own session writes his own log or raises his limits."""
    nobody = set(Permission) - MATRIX[Role.ADMIN]

    assert nobody == {
        Permission.WORKSPACE_CREATE,
        Permission.MEMBER_ADD,
        Permission.SESSION_CREATE,
        Permission.TOKEN_ISSUE,
        Permission.SECURITY_RECORD,
        Permission.POLICY_PUBLISH,
        Permission.DATASET_DECLARE,
        Permission.NOTIFICATION_SEND,
        Permission.LIMIT_MANAGE,
    }
    assert all(service("ws", "services").may(permission) for permission in Permission)


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("permission", Permission)
def test_a_role_may_what_its_column_says(role: Role, permission: Permission) -> None:
    """And the error says whom to ask."""
    caller = member("ada", role)

    if permission in MATRIX[role]:
        caller.require(permission)
    else:
        with pytest.raises(Refused, match=f"{role}s may not {permission}; ask an? "):
            caller.require(permission)


def test_admins_rule_all_others_rule_those_below() -> None:
    """A role never rules itself, except Admin."""
    ruled = {ruler: [role for role in Role if may_rule(ruler, role)] for ruler in Role}

    assert ruled == {
        Role.ADMIN: list(Role),
        Role.MANAGER: [Role.ANALYST, Role.VIEWER],
        Role.ANALYST: [Role.VIEWER],
        Role.VIEWER: [],
    }
