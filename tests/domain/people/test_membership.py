"""The rules of memberships, played through: the last Admin stays, the count is right, the log is whole."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from tests.support.acts import NOW, act, member
from tests.support.stores.writes import Memory

from nilometer.domain.acts.act import Caller, service
from nilometer.domain.acts.deed import Deed
from nilometer.domain.acts.roles import MATRIX, Permission, Role, may_rule
from nilometer.domain.people.membership import (
    AddMember,
    ChangeRole,
    EndSessions,
    Membership,
    RemoveMember,
    membership_of,
)
from nilometer.domain.store import keys
from nilometer.domain.store.writes import Item
from nilometer.errors import Refused

USERS = st.sampled_from(["ada", "bob", "cy", "dee"])
ROLES = st.sampled_from(Role)
WORKSPACE = keys.workspace("ws")


class People(RuleBasedStateMachine):
    """Four users who come, go and change roles, by each other's hand or a service's."""

    def __init__(self) -> None:
        super().__init__()
        self.stored = Memory()
        self.stored[WORKSPACE] = {"pk": WORKSPACE.pk, "sk": WORKSPACE.sk, "version": 1, "status": "active"}
        self.roles: dict[str, Role] = {}
        self.minutes = 0
        self.entries = 0

    def caller(self, user: str | None) -> Caller:
        return member(user, self.roles[user]) if user in self.roles else service("ws", "services")

    def item(self, user: str) -> Item | None:
        return self.stored.get(keys.member("ws", user))

    @property
    def workspace(self) -> Item:
        return self.stored[WORKSPACE]

    def admins(self) -> int:
        return sum(role is Role.ADMIN for role in self.roles.values())

    def does(self, caller: Caller, deed: Deed[Any]) -> bool:
        """Whether the rules allow it; then it is stored."""
        self.minutes += 1
        now = NOW + timedelta(minutes=self.minutes)
        try:
            writes = self.stored.does(act(caller, now=now), deed)
        except Refused:
            return False
        self.entries += bool(writes)
        return True

    @rule(by=st.none() | USERS, user=USERS, role=ROLES)
    def add(self, by: str | None, user: str, role: Role) -> None:
        caller = self.caller(by)
        done = self.does(caller, AddMember(user_id=user, role=role))

        assert done == (caller.role is None and self.roles.get(user, role) is role)
        if done:
            self.roles[user] = role

    @rule(by=st.none() | USERS, user=USERS, role=ROLES)
    def change(self, by: str | None, user: str, role: Role) -> None:
        caller, was = self.caller(by), self.roles.get(user)
        done = self.does(caller, ChangeRole(user_id=user, role=role))

        last = was is Role.ADMIN and role is not Role.ADMIN and self.admins() == 1
        assert done == (was is not None and not last and self.ruling(caller, was) and self.ruling(caller, role))
        if done:
            self.roles[user] = role

    @rule(by=st.none() | USERS, user=USERS)
    def remove(self, by: str | None, user: str) -> None:
        caller, was = self.caller(by), self.roles.get(user)
        done = self.does(caller, RemoveMember(user_id=user))

        if was is None:
            return
        last = was is Role.ADMIN and self.admins() == 1
        assert done == (not last and (caller.is_self(user) or self.ruling(caller, was, Permission.MEMBER_REMOVE)))
        if done:
            del self.roles[user]

    @rule(user=USERS)
    @precondition(lambda self: self.roles)
    def end_sessions(self, user: str) -> None:
        before = self.member(user)
        done = self.does(service("ws", "services"), EndSessions(user_id=user))

        after = self.member(user)
        assert done == (user in self.roles)
        assert not (done and before and after) or after.sessions_after > before.sessions_after

    def member(self, user: str) -> Membership | None:
        return membership_of(self.item(user))

    @staticmethod
    def ruling(caller: Caller, role: Role, permission: Permission = Permission.MEMBER_CHANGE) -> bool:
        return caller.role is None or (permission in MATRIX[caller.role] and may_rule(caller.role, role))

    @invariant()
    def the_records_say_the_same(self) -> None:
        found = {user: found.role for user in ("ada", "bob", "cy", "dee") if (found := self.member(user))}
        assert found == self.roles

    @invariant()
    def the_count_is_right(self) -> None:
        assert self.workspace.get("admins", 0) == self.admins()

    @invariant()
    def every_change_is_in_the_log(self) -> None:
        assert sum(key.sk.startswith("SECURITY#") for key in self.stored) == self.entries

    @invariant()
    def only_members_are_in_the_index(self) -> None:
        indexed = {item["user_id"] for item in self.stored.values() if item.get("gsi1pk", "").startswith("USER#")}
        assert indexed == self.roles.keys()


People.TestCase.settings = settings(max_examples=150, stateful_step_count=30, deadline=None)
TestPeople = People.TestCase
