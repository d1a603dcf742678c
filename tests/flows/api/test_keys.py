"""API keys: what is stored of them, and until when they are valid."""

from __future__ import annotations

from datetime import timedelta

import pytest
from tests.support.flows.operations import NOW
from tests.support.people import actions, member, workspace
from tests.support.stores.memory import MemoryStore

from nilometer.domain.access.key import COARSE, RevokeKey
from nilometer.domain.access.scopes import LIMIT_USE, USAGE_RECORD
from nilometer.domain.acts.act import operator, service
from nilometer.domain.acts.roles import Role
from nilometer.domain.people.workspace import UpdateWorkspace
from nilometer.domain.store.times import rfc3339
from nilometer.errors import Refused, Rejected
from nilometer.flows.api import keys
from nilometer.flows.people.acting import perform

OURS = service("ws", "tests")
HOUR = timedelta(hours=1)


@pytest.fixture
def store() -> MemoryStore:
    made = MemoryStore()
    workspace(made, "ws", bob=Role.MANAGER)
    return made


def test_a_key_opens_with_its_token_alone(store: MemoryStore) -> None:
    """Neither its id, nor its hash, nor another secret does; and no record or repr holds the token."""
    made = keys.create(store, OURS, name="inference", scopes=[USAGE_RECORD], now=NOW)

    assert keys.authenticate(store, made.token, now=NOW).id == made.of.id
    secret = made.token.split("_", 3)[3]
    assert secret not in repr(store.items)
    assert secret not in repr(made)
    for wrong in ("", "nil_key_", made.of.id, f"nil_key_{made.of.id}", f"nil_key_{made.of.id}_no", f"{made.token}x"):
        with pytest.raises(Refused, match="not valid"):
            keys.authenticate(store, wrong, now=NOW)


def test_it_ends_when_it_was_said(store: MemoryStore) -> None:
    """At that moment, and not a second later."""
    made = keys.create(store, OURS, name="n", scopes=[USAGE_RECORD], ends_at=NOW + HOUR, now=NOW)

    assert keys.authenticate(store, made.token, now=NOW + HOUR - timedelta(seconds=1))
    with pytest.raises(Refused):
        keys.authenticate(store, made.token, now=NOW + HOUR)


def test_rotation_overlaps_and_then_the_old_secret_is_over(store: MemoryStore) -> None:
    """Both open during the overlap; a second rotation ends the first secret at once."""
    first = keys.create(store, OURS, name="n", scopes=[USAGE_RECORD], now=NOW)
    second = keys.rotate(store, OURS, first.of.id, overlap=HOUR, now=NOW)

    assert {keys.authenticate(store, one.token, now=NOW).id for one in (first, second)} == {first.of.id}
    with pytest.raises(Refused):
        keys.authenticate(store, first.token, now=NOW + HOUR)
    third = keys.rotate(store, OURS, first.of.id, overlap=HOUR, now=NOW)
    with pytest.raises(Refused):
        keys.authenticate(store, first.token, now=NOW)
    assert keys.authenticate(store, third.token, now=NOW + HOUR)


def test_a_revoked_key_is_over_with_all_its_secrets(store: MemoryStore) -> None:
    """From the next request on; it cannot be rotated back to life, and the log says all of it."""
    made = keys.create(store, OURS, name="n", scopes=[USAGE_RECORD], now=NOW)
    again = keys.rotate(store, OURS, made.of.id, now=NOW)
    perform(store, OURS, RevokeKey(key_id=made.of.id), now=NOW)

    for one in (made, again):
        with pytest.raises(Refused):
            keys.authenticate(store, one.token, now=NOW)
    with pytest.raises(Refused, match="revoked"):
        keys.rotate(store, OURS, made.of.id, now=NOW)
    assert sorted(one for one in actions(store) if one.startswith("key")) == [
        "key_created",
        "key_created",
        "key_revoked",
    ]


def test_a_key_of_a_deleted_workspace_can_be_revoked(store: MemoryStore) -> None:
    """And listed, so that it is found. Nothing else can be done with it: it cannot be rotated, and no other is made."""
    made = keys.create(store, OURS, name="n", scopes=[USAGE_RECORD], now=NOW)
    perform(store, OURS, UpdateWorkspace(status="deleted"), now=NOW)

    with pytest.raises(Refused, match="deleted"):
        keys.rotate(store, OURS, made.of.id, now=NOW)
    assert [one.id for one in keys.keys_of(store, OURS)] == [made.of.id]
    perform(store, OURS, RevokeKey(key_id=made.of.id), now=NOW)
    assert [one.revoked_at for one in keys.keys_of(store, OURS)] == [rfc3339(NOW)]
    with pytest.raises(Refused, match="not known"):
        keys.keys_of(store, service("nobody", "tests"))
    with pytest.raises(Refused, match="not valid"):
        keys.authenticate(store, made.token, now=NOW)


def test_a_key_is_out_of_reach_of_another_workspace(store: MemoryStore) -> None:
    """Also for its service: it is not found, and not in the list."""
    made = keys.create(store, OURS, name="n", scopes=[USAGE_RECORD], now=NOW)
    workspace(store, "theirs")
    theirs = service("theirs", "tests")

    for caller in (theirs, operator("tests")):
        with pytest.raises(Refused, match="no key"):
            perform(store, caller, RevokeKey(key_id=made.of.id), now=NOW)
        with pytest.raises(Refused, match="no key"):
            keys.rotate(store, caller, made.of.id, now=NOW)
        assert keys.keys_of(store, caller) == []


def test_members_below_admin_manage_no_keys(store: MemoryStore) -> None:
    """The permission is the matrix's."""
    bob = member("bob", Role.MANAGER)

    with pytest.raises(Refused, match=r"key\.manage"):
        keys.create(store, bob, name="n", scopes=[USAGE_RECORD], now=NOW)
    with pytest.raises(Refused):
        keys.keys_of(store, bob)
    assert keys.create(store, member("ada", Role.ADMIN), name="n", scopes=[USAGE_RECORD], now=NOW)


def test_a_key_of_a_workspace_has_no_more_than_its_admin(store: MemoryStore) -> None:
    """What no role may do needs a service key."""
    for scope in ("member.add", "session.create", "key.manage", "nonsense"):
        with pytest.raises(Rejected, match=scope):
            keys.create(store, OURS, name="n", scopes=[scope], now=NOW)
    every = keys.create(store, OURS, name="n", scopes=["*"], now=NOW).of.scopes

    assert {LIMIT_USE, USAGE_RECORD, "member.invite"} <= set(every)
    assert not {"member.add", "limit.manage", "workspace.create"} & set(every)
    assert "member.add" in keys.create(store, operator("tests"), name="s", scopes=["*"], now=NOW).of.scopes


def test_use_is_noted_once_an_hour(store: MemoryStore) -> None:
    """A hundred requests are one write."""
    made = keys.create(store, OURS, name="n", scopes=[USAGE_RECORD], now=NOW)
    before = store.items.copy()
    for second in range(100):
        keys.authenticate(store, made.token, now=NOW + timedelta(seconds=second))
    [noted] = keys.keys_of(store, OURS)
    keys.authenticate(store, made.token, now=NOW + COARSE)
    [later] = keys.keys_of(store, OURS)

    assert before != store.items
    assert str(noted.last_used_at) < str(later.last_used_at)
    [item] = [item for item in store.items.values() if item["kind"] == "api_key"]
    assert item["version"] == 3
