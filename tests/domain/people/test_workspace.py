"""Workspaces and their slugs, played through: one owner at a time, grace, and what comes after."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from tests.support.acts import NOW, act
from tests.support.stores.writes import Memory

from nilometer.domain.acts.act import service
from nilometer.domain.acts.records import alive
from nilometer.domain.people.slug import check_slug
from nilometer.domain.people.workspace import (
    GRACE,
    CreateWorkspace,
    UpdateWorkspace,
    WorkspaceStatus,
    check_open,
    is_gone,
)
from nilometer.domain.store import keys
from nilometer.domain.store.times import rfc3339
from nilometer.errors import Refused, Rejected

WORKSPACES, SLUGS = ("one", "two", "three"), ("a", "b")


class Tenants(RuleBasedStateMachine):
    """Three workspaces that want two slugs."""

    def __init__(self) -> None:
        super().__init__()
        self.stored = Memory()
        self.now = NOW
        self.slug_of: dict[str, str | None] = {}
        self.deleted: dict[str, Any] = {}

    def says(self, workspace: str, *, creates: bool = False, **given: Any) -> bool:
        """Whether the rules allow it; then it is stored."""
        self.now += timedelta(seconds=1)
        deed = CreateWorkspace(**given) if creates else UpdateWorkspace(**given)
        said = act(service(workspace, "op"), now=self.now, stamp=rfc3339(self.now))
        try:
            assert self.stored.does(said, deed)
        except Refused:
            return False
        return True

    def gone(self, workspace: str) -> bool:
        return workspace in self.deleted and self.now >= self.deleted[workspace] + GRACE

    def held_by_another(self, slug: str, workspace: str) -> bool:
        """Deleted ones hold it an hour longer than their grace: clocks differ."""
        slack = timedelta(hours=1)
        return any(
            held == slug and not (other in self.deleted and self.now - slack >= self.deleted[other] + GRACE)
            for other, held in self.slug_of.items()
            if other != workspace
        )

    @rule(workspace=st.sampled_from(WORKSPACES), slug=st.none() | st.sampled_from(SLUGS))
    def create(self, workspace: str, slug: str | None) -> None:
        if workspace in self.slug_of:
            return
        done = self.says(workspace, creates=True, name="N", **({"slug": slug} if slug else {}))

        assert done == (slug is None or not self.held_by_another(slug, workspace))
        if done:
            self.slug_of[workspace] = slug

    @rule(workspace=st.sampled_from(WORKSPACES), slug=st.sampled_from(SLUGS))
    def rename(self, workspace: str, slug: str) -> None:
        if workspace not in self.slug_of:
            return
        done = self.says(workspace, slug=slug)

        assert done == (not self.gone(workspace) and not self.held_by_another(slug, workspace))
        if done:
            self.slug_of[workspace] = slug

    @rule(workspace=st.sampled_from(WORKSPACES), status=st.sampled_from(["deleted", "active", "suspended"]))
    def mark(self, workspace: str, status: str) -> None:
        if workspace not in self.slug_of:
            return
        done = self.says(workspace, status=status)

        assert done == (not self.gone(workspace))
        if done and status == "deleted":
            self.deleted.setdefault(workspace, self.now)
        elif done:
            self.deleted.pop(workspace, None)

    @rule(days=st.sampled_from([1, 15, 31]))
    def time_passes(self, days: int) -> None:
        self.now += timedelta(days=days)

    @invariant()
    def who_is_not_gone_has_his_slug(self) -> None:
        for workspace, slug in self.slug_of.items():
            if slug and not self.gone(workspace):
                holder = alive(self.stored.get(keys.slug(slug)), self.now) or {}
                assert holder.get("workspace_id") == workspace

    @invariant()
    def a_slug_that_nobody_has_is_not_stored(self) -> None:
        for slug in SLUGS:
            item = self.stored.get(keys.slug(slug))
            assert item is None or self.stored[keys.workspace(item["workspace_id"])]["slug"] == slug

    @invariant()
    def a_deleted_workspace_is_closed(self) -> None:
        for workspace in self.slug_of:
            record = self.stored[keys.workspace(workspace)]
            assert (record["status"] == WorkspaceStatus.DELETED) == (workspace in self.deleted)
            assert is_gone(record, self.now) == self.gone(workspace)
            if workspace in self.deleted:
                with pytest.raises(Refused):
                    check_open(record, workspace)
            else:
                check_open(record, workspace)


Tenants.TestCase.settings = settings(max_examples=150, stateful_step_count=25, deadline=None)
TestTenants = Tenants.TestCase


@pytest.mark.parametrize("slug", ["", "-a", "a-", "a--b", "A", "a_b", "a.b", "ä", "a" * 64, "a\n"])
def test_what_cannot_stand_in_a_host_name_is_no_slug(slug: str) -> None:
    """Letters, digits and single hyphens."""
    with pytest.raises(Rejected):
        check_slug(slug)


@pytest.mark.parametrize("slug", ["a", "0", "acme-europe-2", "a" * 63])
def test_a_slug_is_a_label(slug: str) -> None:
    """At most 63 characters."""
    check_slug(slug)
