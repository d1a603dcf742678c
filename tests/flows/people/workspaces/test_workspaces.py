"""Workspaces, on a real engine: opened, renamed, deleted, restored; one slug, one owner."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from tests.support.flows.operations import NOW, envelope
from tests.support.people import actions, member, roles, workspace

from nilometer import CreateWorkspace, Invite, OpenSession, UpdateWorkspace, issue, perform
from nilometer.aws.dynamodb import Store
from nilometer.domain.acts.act import service
from nilometer.domain.acts.roles import Role
from nilometer.domain.events.outcome import Message, Outcome
from nilometer.domain.people.workspace import GRACE
from nilometer.domain.store import keys
from nilometer.domain.store.writes import Item, Table
from nilometer.errors import Refused, Rejected
from nilometer.flows.operations import batch as operations
from nilometer.flows.people import access, security, workspaces
from nilometer.flows.people import members as people

LATER = NOW + timedelta(minutes=1)
OPERATOR = service("ws", "operator")


def opened(store: Store, workspace_id: str = "ws", slug: str | None = "acme") -> Item:
    door = service(workspace_id, "services")
    return perform(store, door, CreateWorkspace(name="Acme", slug=slug, admin="ada"), now=NOW)


def slug_owner(store: Store, slug: str) -> str | None:
    return (store.get(Table.RECORDS, keys.slug(slug), consistent=True) or {}).get("workspace_id")


def test_a_workspace_opens_with_slug_and_admin_at_once(store: Store) -> None:
    """And opening it again, after a lost answer, changes nothing."""
    first, again = opened(store), opened(store)

    assert first == again == store.get(Table.RECORDS, keys.workspace("ws"))
    assert (first["version"], first["admins"], slug_owner(store, "acme")) == (1, 1, "ws")
    assert roles(store) == {"ada": Role.ADMIN}
    assert actions(store) == ["member_added"]


def test_a_slug_moves_with_its_workspace(store: Store) -> None:
    """The old one is free at once."""
    opened(store)
    ada = member("ada", Role.ADMIN)

    perform(store, ada, UpdateWorkspace(slug="acme-two"), now=LATER)
    opened(store, "other")

    assert (slug_owner(store, "acme-two"), slug_owner(store, "acme")) == ("ws", "other")
    with pytest.raises(Refused, match="another workspace"):
        perform(store, ada, UpdateWorkspace(slug="acme"), now=LATER)
    with pytest.raises(Rejected):
        perform(store, ada, UpdateWorkspace(slug="Acme Two"), now=LATER)


def test_a_deleted_workspace_is_closed_to_everybody(store: Store) -> None:
    """At once, sessions included."""
    opened(store)
    ada = member("ada", Role.ADMIN)
    session = issue(store, service("ws", "services"), OpenSession(user_id="ada"), now=NOW)

    perform(store, ada, UpdateWorkspace(status="deleted"), now=LATER)
    perform(store, ada, UpdateWorkspace(status="deleted"), now=LATER)

    with pytest.raises(Refused, match="deleted"):
        people.members(store, ada)
    with pytest.raises(Refused, match="deleted"):
        access.authenticate(store, session.token, now=LATER)
    with pytest.raises(Refused, match="deleted"):
        issue(store, ada, Invite(email="x@example.com", role=Role.VIEWER), now=LATER)
    with pytest.raises(Refused, match="restore it first"):
        perform(store, ada, UpdateWorkspace(name="New"), now=LATER)
    assert actions(store).count("workspace_deleted") == 1


def test_the_security_log_of_a_deleted_workspace_is_read(store: Store) -> None:
    """Who deleted it, and what was done until then; by who might before."""
    opened(store)
    ada = member("ada", Role.ADMIN)
    perform(store, ada, UpdateWorkspace(status="deleted"), now=LATER)
    anybody = service("ws", "nilometer cli")

    assert security.entries(store, anybody, now=LATER)[0].action == "workspace_deleted"
    assert security.entries_after(store, ada, "", now=LATER, limit=9)[-1].action == "workspace_deleted"
    assert security.entries_by(store, anybody, "ada", now=LATER)[0].action == "workspace_deleted"
    with pytest.raises(Refused, match="not known"):
        security.entries(store, service("nobody", "nilometer cli"), now=LATER)


def test_a_deleted_workspace_comes_back_whole(store: Store) -> None:
    """Within its grace, with its people and its slug."""
    opened(store)
    ada = member("ada", Role.ADMIN)
    perform(store, ada, UpdateWorkspace(status="deleted"), now=LATER)
    with pytest.raises(Refused, match="another workspace"):
        opened(store, "thief")

    back = perform(store, ada, UpdateWorkspace(status="active"), now=NOW + GRACE)

    assert (back["status"], "deleted_at" in back, slug_owner(store, "acme")) == ("active", False, "ws")
    assert "expires_at" not in (store.get(Table.RECORDS, keys.slug("acme")) or {})
    assert roles(store) == {"ada": Role.ADMIN}


def test_after_its_grace_a_workspace_is_gone(store: Store) -> None:
    """Nothing brings it back, its slug is free though the item is still there, and its people are removed."""
    opened(store)
    ada = member("ada", Role.ADMIN)
    issue(store, ada, Invite(email="x@example.com", role=Role.VIEWER), now=NOW)
    perform(store, ada, UpdateWorkspace(status="deleted"), now=NOW)
    with pytest.raises(Refused, match="can still be restored"):
        workspaces.purge_workspace(store, OPERATOR, now=NOW + GRACE - timedelta(seconds=1))

    gone = NOW + GRACE + timedelta(hours=2)
    with pytest.raises(Refused, match="grace is over"):
        perform(store, ada, UpdateWorkspace(status="active"), now=gone)
    taken = perform(store, service("new", "s"), CreateWorkspace(name="New", slug="acme", admin="eve"), now=gone)
    assert slug_owner(store, "acme") == taken["workspace_id"] == "new"
    assert workspaces.purge_workspace(store, OPERATOR, now=gone) == 3  # member, invitation, its slot
    assert workspaces.purge_workspace(store, OPERATOR, now=gone) == 0


def test_only_admins_delete(store: Store) -> None:
    """A Manager may rename."""
    workspace(store, max=Role.MANAGER)
    max_ = member("max", Role.MANAGER)

    assert perform(store, max_, UpdateWorkspace(name="New"), now=LATER)["name"] == "New"
    with pytest.raises(Refused, match=r"may not workspace\.delete; ask an Admin"):
        perform(store, max_, UpdateWorkspace(status="deleted"), now=LATER)
    with pytest.raises(Refused):
        perform(store, max_, CreateWorkspace(name="X", admin="max"), now=LATER)


def test_what_a_caller_says_comes_after_what_he_saw(store: Store) -> None:
    """A service's clock that runs ahead does not make his change void."""
    opened(store)
    perform(store, OPERATOR, UpdateWorkspace(name="From ahead"), now=NOW + timedelta(hours=1))

    assert perform(store, OPERATOR, UpdateWorkspace(name="Mine"), now=LATER)["name"] == "Mine"


def test_a_deletion_by_event_is_the_same(store: Store, objects: Any) -> None:
    """Grace, slug and all; and its restoration."""
    opened(store)

    def says(status: str, second: int) -> Outcome:
        detail = {
            "specversion": "1.0",
            "id": f"{status}-{second}",
            "source": "/accounts",
            "type": "workspace.updated.v1",
            "subject": "ws",
            "time": f"2026-11-23T12:00:{second:02}Z",
            "data": {"status": status},
        }
        [result] = operations.handle([Message("1", envelope(detail))], store=store, objects=objects, now=LATER)
        return result.outcome

    assert says("deleted", 10) is Outcome.ACCEPTED
    closed = store.get(Table.RECORDS, keys.workspace("ws")) or {}
    held = store.get(Table.RECORDS, keys.slug("acme")) or {}
    assert (closed["status"], closed["deleted_at"]) == ("deleted", "2026-11-23T12:01:00.000Z")
    assert held["expires_at"] == int((LATER + GRACE).timestamp())

    assert says("active", 5) is Outcome.ACCEPTED  # older than the deletion: changes nothing
    assert (store.get(Table.RECORDS, keys.workspace("ws")) or {})["status"] == "deleted"
    assert says("active", 20) is Outcome.ACCEPTED
    assert "expires_at" not in (store.get(Table.RECORDS, keys.slug("acme")) or {})
