"""No function of the library reaches from one workspace into another, whatever it is given."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from tests.support.flows.intruders import ATTEMPTS, LATER, deeds, intruders
from tests.support.flows.operations import NOW
from tests.support.people import workspace

from nilometer import (
    AddMember,
    CreateWebhook,
    CreateWorkspace,
    EndSessions,
    Invite,
    IssueToken,
    Notify,
    OpenSession,
    ReportSecurity,
    UpdateWorkspace,
    issue,
    perform,
)
from nilometer.aws.dynamodb import Store
from nilometer.domain.access.token import TokenPurpose
from nilometer.domain.acts.act import service
from nilometer.domain.acts.deed import Issuing
from nilometer.domain.acts.roles import Role
from nilometer.domain.acts.secret import hash_of
from nilometer.domain.acts.security import Reported
from nilometer.domain.store import keys
from nilometer.domain.store.writes import Item, Table
from nilometer.errors import NilometerError, Refused
from nilometer.flows.notices import webhooks
from nilometer.flows.operations.types import TYPES
from nilometer.flows.people import access, security, workspaces
from nilometer.flows.people import members as people

# They take no caller: a secret says where they act, or they are for one user or an operator.
WITHOUT_CALLER = {
    people.accept_invitation,
    people.decline_invitation,
    people.workspaces_of,
    access.authenticate,
    access.member_caller,
    access.log_out,
    access.use_token,
    workspaces.all_workspaces,
    workspaces.statuses,
}


NAMES = dict.fromkeys(("invitation_id", "session_hash", "token_hash", "notification_id", "webhook_id"), "")


def ours(store: Store) -> dict[str, str]:
    """A workspace with a member, a log, an invitation and a session of its own; the ids of the last two."""
    ada = workspace(store, "ours", bob=Role.ANALYST)
    perform(store, ada, UpdateWorkspace(slug="acme"), now=NOW)
    invited = issue(store, ada, Invite(email="bob@example.com", role=Role.VIEWER), now=NOW)
    session = issue(store, service("ours", "services"), OpenSession(user_id="bob"), now=NOW)
    door = service("ours", "services")
    token = issue(store, door, IssueToken(user_id="bob", purpose=TokenPurpose.PASSWORD_RESET), now=NOW)
    perform(store, door, ReportSecurity(action=Reported.KEY_USED, user_id="bob"), now=NOW)
    told = perform(store, door, Notify(user_id="bob", topic="exports.ready", title="Done"), now=NOW)
    hook = perform(store, ada, CreateWebhook(url="https://hooks.example.com/ours"), now=NOW)
    return {
        "webhook_id": hook.id,
        "invitation_id": invited.of.id,
        "session_id": session.of.id,
        "session_hash": hash_of(session.token),
        "token_hash": hash_of(token.token),
        "notification_id": told.id,
    }


def stored(store: Store) -> list[Item]:
    found = (item for item in store.scan(Table.RECORDS) if item.get("workspace_id") == "ours")
    return sorted(found, key=lambda item: (item["pk"], item["sk"]))


@pytest.mark.parametrize("function", ATTEMPTS, ids=lambda one: f"{one.__module__.rpartition('.')[2]}.{one.__name__}")
def test_nobody_reaches_into_another_workspace(function: Callable[..., Any], store: Store) -> None:
    """Nothing of ours changes, and nothing of ours is in an answer."""
    names = ours(store)
    perform(store, service("theirs", "s"), CreateWorkspace(name="Theirs", admin="mallory"), now=NOW)
    before = stored(store)
    given = {name: names[name] if value == "OURS" else value for name, value in ATTEMPTS[function].items()}

    for caller in intruders():
        try:
            answer = function(store, caller, **given)
        except NilometerError:
            continue
        assert caller.workspace_id == "theirs"
        assert "ours" not in repr(answer)
    assert stored(store) == before


@pytest.mark.parametrize("number", range(len(deeds(NAMES))), ids=lambda n: type(deeds(NAMES)[n]).__name__)
def test_no_deed_reaches_into_another_workspace(number: int, store: Store) -> None:
    """Nothing of ours changes, and nothing of ours is in an answer."""
    deed = deeds(ours(store))[number]
    perform(store, service("theirs", "s"), CreateWorkspace(name="Theirs", admin="mallory"), now=NOW)
    before = stored(store)

    for caller in intruders():
        try:
            answer: Any = (issue if isinstance(deed, Issuing) else perform)(store, caller, deed, now=LATER)  # type: ignore[operator]
        except NilometerError:
            continue
        assert caller.workspace_id == "theirs"
        assert "ours" not in repr(answer)
    assert stored(store) == before


def test_every_deed_is_tried() -> None:
    """A new one must be added to the intruders'."""
    assert {type(one) for one in deeds(NAMES)} == {*TYPES.values()}


def test_every_function_is_tried() -> None:
    """A new one must be added above."""
    functions = {
        one
        for module in (people, access, security, workspaces, webhooks)
        for name, one in inspect.getmembers(module, inspect.isfunction)
        if one.__module__ == module.__name__ and not name.startswith("_")
    }

    assert functions == ATTEMPTS.keys() | WITHOUT_CALLER
    for function in ATTEMPTS:
        assert list(inspect.signature(function).parameters)[:2] == ["store", "caller"]
    for function in WITHOUT_CALLER:
        assert "caller" not in inspect.signature(function).parameters


def test_a_user_of_two_workspaces_has_two_logs_and_two_sets_of_sessions(store: Store) -> None:
    """What bob does there is not seen here."""
    ada = workspace(store, "ours", bob=Role.VIEWER)
    workspace(store, "theirs", bob=Role.VIEWER)
    there = service("theirs", "services")
    session = issue(store, there, OpenSession(user_id="bob"), now=LATER)
    perform(store, there, ReportSecurity(action=Reported.KEY_USED, user_id="bob"), now=LATER)

    assert access.sessions(store, ada, user_id="bob", now=LATER) == []
    assert security.entries_by(store, ada, "bob", now=LATER) == []
    perform(store, ada, EndSessions(user_id="bob"), now=LATER + timedelta(seconds=1))
    assert access.authenticate(store, session.token, now=LATER + timedelta(seconds=2)).workspace_id == "theirs"


def test_a_token_of_one_workspace_opens_that_one(store: Store) -> None:
    """Its workspace comes from what is stored under its hash, from nothing else."""
    workspace(store, "ours")
    workspace(store, "theirs")
    issued = issue(store, service("ours", "s"), IssueToken(user_id="ada", purpose=TokenPurpose.PASSWORD_RESET), now=NOW)

    assert access.use_token(store, issued.token, purpose=TokenPurpose.PASSWORD_RESET, now=LATER).workspace_id == "ours"
    with pytest.raises(Refused):
        access.use_token(store, issued.token, purpose=TokenPurpose.PASSWORD_RESET, now=LATER)


def test_a_key_cannot_be_forged_by_an_id(store: Store) -> None:
    """A separator in an id stays inside its part."""
    ada = workspace(store, "ours")

    with pytest.raises(NilometerError):
        access.member_caller(store, "ours#x", "ada")
    assert keys.member("a#MEMBER", "b") != keys.member("a", "MEMBER#b")
    perform(store, service("ours", "s"), AddMember(user_id="x#y", role=Role.VIEWER), now=NOW)
    assert [one.user_id for one in people.members(store, ada)] == ["ada", "x#y"]
