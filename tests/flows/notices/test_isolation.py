"""The same intruders as in `test_isolation`, at notifications, policies, flags, tutorials, attachments and API keys."""

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

from nilometer import (
    AcceptPolicy,
    AdvanceOnboarding,
    Attach,
    Channel,
    CreateWorkspace,
    GrantLimit,
    Notify,
    OverrideFlag,
    PublishPolicy,
    SetFlag,
    SetPreference,
    flows,
    operator,
    perform,
    service,
)
from nilometer.aws.dynamodb import Store
from nilometer.aws.s3 import Objects
from nilometer.domain.access.key import CreateKey
from nilometer.domain.access.scopes import USAGE_RECORD
from nilometer.domain.acts.roles import Role
from nilometer.domain.people.attachment import AttachmentPurpose
from nilometer.domain.store.writes import Item, Table
from nilometer.errors import NilometerError, Refused
from nilometer.flows.api import keys as api_keys
from nilometer.flows.limits import own as own_limits
from nilometer.flows.notices import notifications
from nilometer.flows.people import attachments, flags, onboarding, policies

SECRET = "of ours alone"
SHA256 = hashlib.sha256(SECRET.encode()).hexdigest()
ATTACHED = {"purpose": AttachmentPurpose.EXPORT, "content_type": "text/csv"}
UPLOADED = Attach(size=len(SECRET), sha256=SHA256, **ATTACHED)  # type: ignore[arg-type]

KEY = "01M8K0000000000000000000AB"

# What is tried with the names of `ours`: its member bob, and his notification there.
ATTEMPTS: dict[Callable[..., Any], dict[str, Any]] = {
    notifications.shown: {"now": LATER},
    notifications.unread: {"now": LATER},
    notifications.mark_read: {"notification_ids": ["NOTICE"], "now": LATER},
    notifications.mark_all_read: {"now": LATER},
    notifications.archive: {"notification_ids": ["NOTICE"], "now": LATER},
    notifications.archive_all: {"now": LATER},
    notifications.preferences: {},
    notifications.explain: {"topic": "exports.ready"},
    policies.acceptances: {},
    policies.outstanding: {"now": LATER},
    flags.explain: {"name": "exports"},
    flags.explain_all: {},
    own_limits.limits_of: {"now": LATER},
    onboarding.progress: {"now": LATER},
    attachments.attach: {**ATTACHED, "content": b"theirs", "now": LATER},
    attachments.fetch: {"sha256": SHA256, "purpose": AttachmentPurpose.EXPORT},
    attachments.upload: {"deed": UPLOADED},
    attachments.attach_uploaded: {"deed": UPLOADED, "now": LATER},
    attachments.download_url: {"sha256": SHA256, "purpose": AttachmentPurpose.EXPORT},
    attachments.attached: {"purpose": AttachmentPurpose.EXPORT},
    api_keys.create: {"name": "theirs", "scopes": [USAGE_RECORD], "now": LATER},
    api_keys.rotate: {"key_id": KEY, "now": LATER},
    api_keys.keys_of: {},
}
# For services and operators, for everybody at once, or for one person who is in no workspace yet.
WITHOUT_CALLER = {
    policies.versions,
    policies.in_force,
    policies.acceptances_of,
    policies.outstanding_of,
    policies.accepted_by,
    flags.all_flags,
    flags.overrides,
    api_keys.authenticate,
}
NOTICE = Notify(user_id="bob", topic="exports.ready", title=SECRET, once="c")


def ours(store: Store, objects: Objects) -> str:
    """The id of bob's notification; he has every kind of record, a flag is overridden, an export is kept."""
    ada, bob = workspace(store, "ours", bob=Role.VIEWER), member("bob", Role.VIEWER, "ours")
    version = PublishPolicy(policy="terms", version=1, url="https://x", content_sha256="ab" * 32, effective_at=NOW)
    perform(store, operator("legal"), version, now=NOW)
    perform(store, operator("ops"), SetFlag(flag="exports"), now=NOW)
    told = perform(store, service("ours", "exports"), NOTICE, now=NOW)
    perform(store, bob, SetPreference(topic="exports.done", channels={Channel.EMAIL: True}), now=NOW)
    perform(store, bob, AcceptPolicy(policy="terms", version=1, user_agent=SECRET), now=NOW)
    perform(store, ada, OverrideFlag(flag="exports", enabled=True), now=NOW)
    perform(store, service("ours", "s"), GrantLimit(meter="calls", grant="ours", amount="5"), now=NOW)
    perform(store, bob, AdvanceOnboarding(tutorial="start", step="invite"), now=NOW)
    attachments.attach(store, ada, SECRET.encode(), objects=objects, **ATTACHED, now=NOW)
    perform(store, ada, CreateKey(key_id=KEY, name=SECRET, scopes=(USAGE_RECORD,), key_hash=SHA256), now=NOW)
    return told.id


def stored(store: Store) -> list[Item]:
    found = (item for item in store.scan(Table.RECORDS) if item.get("workspace_id") == "ours")
    return sorted(found, key=lambda item: (item["pk"], item["sk"]))


@pytest.mark.parametrize("function", ATTEMPTS, ids=lambda one: f"{one.__module__.rpartition('.')[2]}.{one.__name__}")
def test_nobody_reaches_into_another_workspace(function: Callable[..., Any], store: Store, objects: Objects) -> None:
    """Nothing of ours changes and nothing of ours is in an answer, also when bob's name is given."""
    notice = ours(store, objects)
    perform(store, service("theirs", "s"), CreateWorkspace(name="Theirs", admin="mallory"), now=NOW)
    before = stored(store)
    given = {name: [notice] if value == ["NOTICE"] else value for name, value in ATTEMPTS[function].items()}
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
        for module in (notifications, policies, flags, own_limits, onboarding, attachments, api_keys)
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
    names -= {"nilometer.flows.people.acting"}  # `perform` is tried with every deed
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

    perform(store, member("bob", Role.ADMIN, "theirs"), OverrideFlag(flag="exports", enabled=True), now=NOW)
    with pytest.raises(Refused, match="may not"):
        perform(store, member("bob", Role.ADMIN, "ours"), OverrideFlag(flag="exports", enabled=False), now=NOW)
