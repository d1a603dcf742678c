"""The same intruders as in `test_isolation`, at notifications, policies, flags, tutorials and attachments."""

from __future__ import annotations

import hashlib
import importlib
import inspect
import pkgutil
from collections.abc import Callable
from typing import Any

import pytest
from tests.support.flows import intruders as others
from tests.support.flows.intruders import LATER, intruders
from tests.support.flows.operations import NOW
from tests.support.people import member, workspace

from nilometer import flows
from nilometer.aws.dynamodb import Store
from nilometer.aws.s3 import Objects
from nilometer.domain.acts.act import service
from nilometer.domain.acts.roles import Role
from nilometer.domain.notices import notification
from nilometer.domain.people import flag, policy
from nilometer.domain.people.attachment import Purpose
from nilometer.domain.store.writes import Item, Table
from nilometer.errors import NilometerError, Refused
from nilometer.flows.limits import own as own_limits
from nilometer.flows.notices import notifications
from nilometer.flows.people import attachments, flags, onboarding, policies, workspaces

SECRET = "of ours alone"
SHA256 = hashlib.sha256(SECRET.encode()).hexdigest()
ATTACHED = {"purpose": Purpose.EXPORT, "content_type": "text/csv"}

# What is tried with the names of `ours`: its member bob, and his notification there.
ATTEMPTS: dict[Callable[..., Any], dict[str, Any]] = {
    notifications.shown: {"now": LATER},
    notifications.unread: {"now": LATER},
    notifications.mark_read: {"notification_ids": ["NOTICE"], "now": LATER},
    notifications.mark_all_read: {"now": LATER},
    notifications.prefer: {"topic": "*", "channels": {"email": False}, "now": LATER},
    notifications.preferences: {},
    notifications.explain: {"topic": "exports.ready"},
    policies.accept: {"which": "terms", "number": 1, "now": LATER},
    policies.acceptances: {},
    policies.outstanding: {"now": LATER},
    flags.override: {"name": "exports", "enabled": False, "now": LATER},
    flags.explain: {"name": "exports"},
    flags.explain_all: {},
    own_limits.override: {"meter": "calls", "rule": {"included": "1"}, "now": LATER},
    own_limits.grant: {"meter": "calls", "grant_id": "g", "amount": "1", "now": LATER},
    own_limits.limits_of: {"now": LATER},
    onboarding.advance: {"tutorial": "start", "step": "connect", "now": LATER},
    onboarding.progress: {"now": LATER},
    attachments.attach: {**ATTACHED, "content": b"theirs", "now": LATER},
    attachments.fetch: {"sha256": SHA256, "purpose": Purpose.EXPORT},
    attachments.attached: {"purpose": Purpose.EXPORT},
}
# For services and operators, for everybody at once, or for one person who is in no workspace yet.
WITHOUT_CALLER = {
    notifications.notify,
    policies.publish,
    policies.versions,
    policies.in_force,
    policies.acceptances_of,
    policies.outstanding_of,
    policies.accepted_by,
    flags.set_flag,
    flags.all_flags,
    flags.overrides,
}
NOTICE = notification.new_notice("bob", topic="exports.ready", title=SECRET, cause="c", at=NOW, workspace_id="ours")


def ours(store: Store, objects: Objects) -> None:
    """A workspace in which bob has a record of every kind, a flag is overridden and an export is kept."""
    ada, bob = workspace(store, "ours", bob=Role.VIEWER), member("bob", Role.VIEWER, "ours")
    version = policy.new_version("terms", 1, url="https://x", content_sha256="ab" * 32, effective_at=NOW)
    policies.publish(store, version, actor="legal", now=NOW)
    flags.set_flag(store, flag.new_change("exports"), actor="ops", now=NOW)
    notifications.notify(store, NOTICE, actor="exports", now=NOW)
    notifications.prefer(store, bob, topic="exports.done", channels={"email": True}, now=NOW)
    policies.accept(store, bob, "terms", 1, now=NOW, user_agent=SECRET)
    flags.override(store, ada, "exports", True, now=NOW)
    own_limits.grant(store, service("ours", "s"), "calls", "ours", "5", now=NOW)
    onboarding.advance(store, bob, tutorial="start", step="invite", now=NOW)
    attachments.attach(store, ada, SECRET.encode(), objects=objects, **ATTACHED, now=NOW)


def stored(store: Store) -> list[Item]:
    found = (item for item in store.scan(Table.RECORDS) if item.get("workspace_id") == "ours")
    return sorted(found, key=lambda item: (item["pk"], item["sk"]))


@pytest.mark.parametrize("function", ATTEMPTS, ids=lambda one: f"{one.__module__.rpartition('.')[2]}.{one.__name__}")
def test_nobody_reaches_into_another_workspace(function: Callable[..., Any], store: Store, objects: Objects) -> None:
    """Nothing of ours changes, and nothing of ours is told; neither when bob's name is given."""
    ours(store, objects)
    workspaces.open_workspace(store, service("theirs", "s"), name="Theirs", slug=None, admin="mallory", now=NOW)
    before = stored(store)
    given = {name: [NOTICE.id] if value == ["NOTICE"] else value for name, value in ATTEMPTS[function].items()}
    parameters = inspect.signature(function).parameters
    named = {"user_id": "bob"} if "user_id" in parameters else {}
    given |= {"objects": objects} if "objects" in parameters else {}

    for caller in intruders():
        for whose in ({}, named):
            try:
                answer = function(store, caller, **given, **whose)
            except NilometerError:
                continue
            assert caller.workspace_id == "theirs"
            # What a person accepted is his, wherever he did: a service that knows him may ask.
            if function is not policies.acceptances:
                assert "ours" not in repr(answer)
                assert SECRET not in repr(answer)
    assert stored(store) == before


def test_every_function_is_tried() -> None:
    """A new one must be added above."""
    functions = {
        one
        for module in (notifications, policies, flags, own_limits, onboarding, attachments)
        for name, one in inspect.getmembers(module, inspect.isfunction)
        if one.__module__ == module.__name__ and not name.startswith("_")
    }

    assert functions == ATTEMPTS.keys() | WITHOUT_CALLER
    for function in ATTEMPTS:
        assert list(inspect.signature(function).parameters)[:2] == ["store", "caller"]
    for function in WITHOUT_CALLER:
        assert "caller" not in inspect.signature(function).parameters


def test_every_module_is_tried() -> None:
    """A function that takes store and caller is in one of the two lists, wherever it stands."""
    names = {one.name for one in pkgutil.walk_packages(flows.__path__, "nilometer.flows.")}
    names -= {"nilometer.flows.people.acting"}  # a part of all of them
    taking = {
        function
        for module in (importlib.import_module(name) for name in names)
        for name, function in inspect.getmembers(module, inspect.isfunction)
        if function.__module__ == module.__name__ and not name.startswith("_")
        if {"store", "caller"} <= inspect.signature(function).parameters.keys()
    }

    assert taking == ATTEMPTS.keys() | others.ATTEMPTS.keys()


def test_a_role_in_another_workspace_does_not_count(store: Store, objects: Objects) -> None:
    """bob is an Admin there and a Viewer here, whatever he says."""
    ours(store, objects)
    workspace(store, "theirs", bob=Role.ADMIN)

    flags.override(store, member("bob", Role.ADMIN, "theirs"), "exports", True, now=NOW)
    with pytest.raises(Refused, match="may not"):
        flags.override(store, member("bob", Role.ADMIN, "ours"), "exports", False, now=NOW)
