"""What services publish about members, sessions and tokens: fact and effect in one transaction, in any order, once."""

from __future__ import annotations

import itertools
import json
from datetime import timedelta
from typing import Any

import pytest
from tests.support.flows.operations import NOW, envelope, handle
from tests.support.flows.sample_world import sha256
from tests.support.people import actions, admins, member, roles, workspace

from nilometer.aws.dynamodb import Store
from nilometer.domain.access.lockout import FAILURES, LOCKED
from nilometer.domain.access.token import TokenPurpose
from nilometer.domain.acts.act import service
from nilometer.domain.acts.roles import Role
from nilometer.domain.events.outcome import Outcome
from nilometer.domain.store import keys
from nilometer.domain.store.writes import Table
from nilometer.errors import Refused
from nilometer.flows.people import access, security
from nilometer.flows.people import members as people

START = NOW - timedelta(hours=8)  # when the samples' workspace was opened
DOOR = service("ws", "services")


def event(type_: str, data: dict[str, Any], *, id_: str, second: int = 0, subject: str = "ws") -> str:
    time = f"2026-11-23T04:00:{second:02}Z"
    return envelope(
        {"specversion": "1.0", "id": id_, "source": "/a", "type": type_, "time": time, "subject": subject, "data": data}
    )


def late(body: str) -> str:
    """As it comes when the bus has had it for an hour."""
    return json.dumps({**json.loads(body), "time": "2026-11-23T11:00:00Z"})


ADDED = event("member.added.v1", {"user_id": "bob", "role": "Admin", "actor": "ada"}, id_="added")


def test_a_copy_changes_nothing(store: Store, objects: Any) -> None:
    """Neither the membership nor the count nor the log, in one batch or in two."""
    workspace(store, now=START)

    assert handle(store, objects, ADDED, ADDED) == [Outcome.ACCEPTED, Outcome.DUPLICATE]
    assert handle(store, objects, ADDED) == [Outcome.DUPLICATE]
    record = store.get(Table.RECORDS, keys.member("ws", "bob")) or {}
    assert (record["version"], record["cause"], record["actor"]) == (1, "added", "ada")
    assert (admins(store), actions(store)) == (2, ["member_added", "member_added"])


def test_what_a_rule_forbids_is_tried_again_and_then_kept(store: Store, objects: Any) -> None:
    """Another event may permit it; after ten minutes it is a reject, and nothing of it is stored."""
    workspace(store, now=START)
    last = event("member.removed.v1", {"user_id": "ada"}, id_="last", second=2)

    assert handle(store, objects, last) == [Outcome.WAITING]
    assert handle(store, objects, late(last)) == [Outcome.REJECTED]
    [kept] = store.query(Table.EVENTS, "REJECT#operations#2026-11-23")
    assert kept["reason"] == "refused"
    assert "no Admin" in kept["message"]
    assert store.get(Table.EVENTS, keys.operation("/a", "last")) is None

    assert handle(store, objects, ADDED, last) == [Outcome.ACCEPTED, Outcome.ACCEPTED]
    assert roles(store) == {"bob": Role.ADMIN}


def test_any_order_ends_in_the_same_membership(store: Store, objects: Any) -> None:
    """Each comes again until it is accepted; a late older one cannot undo a newer one."""
    for n, order in enumerate(itertools.permutations(range(4))):
        ws = f"ws{n}"
        workspace(store, ws, now=START)
        story = [
            event("member.added.v1", {"user_id": "bob", "role": "Viewer"}, id_=f"{n}a", second=1, subject=ws),
            event("member.role_changed.v1", {"user_id": "bob", "role": "Admin"}, id_=f"{n}b", second=2, subject=ws),
            event("member.role_changed.v1", {"user_id": "bob", "role": "Analyst"}, id_=f"{n}c", second=3, subject=ws),
            event("member.removed.v1", {"user_id": "bob"}, id_=f"{n}d", second=4, subject=ws),
        ]
        waiting = [story[i] for i in order]
        for _ in story:
            outcomes = handle(store, objects, *waiting)
            waiting = [body for body, outcome in zip(waiting, outcomes, strict=True) if outcome is Outcome.WAITING]

        assert (waiting, roles(store, ws), admins(store, ws)) == ([], {"ada": Role.ADMIN}, 1)


ADD, ROLE, END, REMOVE = "member.added.v1", "member.role_changed.v1", "session.all_revoked.v1", "member.removed.v1"
STORIES: dict[str, tuple[list[tuple[str, str]], Role | None]] = {
    "demoted, and sessions ended": ([(ADD, "Admin"), (ROLE, "Viewer"), (END, "")], Role.VIEWER),
    "the role of before again": ([(ADD, "Analyst"), (ROLE, "Viewer"), (ROLE, "Analyst")], Role.ANALYST),
    "said twice, another between": (
        [(ADD, "Viewer"), (ROLE, "Analyst"), (ROLE, "Viewer"), (ROLE, "Analyst")],
        Role.ANALYST,
    ),
    "removed, added and removed": ([(ADD, "Admin"), (REMOVE, ""), (ADD, "Admin"), (REMOVE, "")], None),
    "removed and added again": ([(ADD, "Viewer"), (REMOVE, ""), (ADD, "Viewer")], Role.VIEWER),
}


@pytest.mark.parametrize("story", list(STORIES))
def test_any_order_ends_where_the_last_event_says(store: Store, objects: Any, story: str) -> None:
    """Also when an event says what is so already, and when one about sessions is newer than one about the role."""
    told, ends = STORIES[story]
    for n, order in enumerate(itertools.permutations(range(len(told)))):
        ws = f"ws{n}"
        workspace(store, ws, now=START)
        waiting = []
        for i in order:
            type_, role = told[i]
            data = {"user_id": "bob", **({"role": role} if role else {})}
            waiting.append(event(type_, data, id_=f"{n}-{i}", second=i + 1, subject=ws))
        outcomes: list[Outcome] = []
        for body in waiting * len(told):
            outcomes += handle(store, objects, body)

        assert roles(store, ws).get("bob") == ends, [told[i] for i in order]
        assert admins(store, ws) == 1


def test_members_of_an_unknown_workspace_wait(store: Store, objects: Any) -> None:
    """Its creation may be on the way."""
    created = event("workspace.created.v1", {"name": "Acme"}, id_="created")

    assert handle(store, objects, ADDED, created, ADDED) == [Outcome.WAITING, Outcome.ACCEPTED, Outcome.ACCEPTED]


def test_an_invitation_runs_through_events_and_library(store: Store, objects: Any) -> None:
    """The service made the token; we know its hash, and take the token itself too."""
    ada = workspace(store, now=START)
    data = {"invitation_id": "inv_1", "email": "bob@example.com", "role": "Analyst", "token_hash": sha256("secret")}
    created = event("invitation.created.v1", data, id_="i1", second=1)

    assert handle(store, objects, created, created) == [Outcome.ACCEPTED, Outcome.DUPLICATE]
    assert [one.id for one in people.invitations(store, ada, now=NOW)] == ["inv_1"]
    people.accept_invitation(store, "secret", user_id="bob", email="bob@example.com", now=NOW)
    accepted = event("invitation.accepted.v1", {"invitation_id": "inv_1", "user_id": "bob"}, id_="i2", second=2)
    assert handle(store, objects, accepted) == [Outcome.ACCEPTED]
    assert (store.get(Table.RECORDS, keys.member("ws", "bob")) or {})["version"] == 1


def test_a_second_use_of_a_token_is_kept_as_a_reject(store: Store, objects: Any) -> None:
    """It is worth knowing of."""
    workspace(store, now=START)
    data = {"token_hash": sha256("secret"), "purpose": "password_reset", "user_id": "ada"}
    use = {"token_hash": sha256("secret"), "purpose": "password_reset"}
    first = event("token.used.v1", use, id_="t2", second=2)
    second = late(event("token.used.v1", use, id_="t3", second=3))

    assert handle(store, objects, event("token.issued.v1", data, id_="t1", second=1), first, second) == [
        Outcome.ACCEPTED,
        Outcome.ACCEPTED,
        Outcome.REJECTED,
    ]
    with pytest.raises(Refused):
        access.use_token(store, "secret", purpose=TokenPurpose.PASSWORD_RESET, now=NOW)


def test_a_session_of_a_service_authenticates(store: Store, objects: Any) -> None:
    """Until it is revoked, by its hash."""
    workspace(store, now=START)
    data = {"session_hash": sha256("secret"), "user_id": "ada"}
    handle(store, objects, event("session.created.v1", data, id_="s1", second=1))
    assert access.authenticate(store, "secret", now=NOW) == member("ada", Role.ADMIN)

    revoked = event("session.revoked.v1", {"session_hash": sha256("secret"), "actor": "ada"}, id_="s2", second=2)
    assert handle(store, objects, revoked, revoked) == [Outcome.ACCEPTED, Outcome.DUPLICATE]
    with pytest.raises(Refused):
        access.authenticate(store, "secret", now=NOW)


def test_sessions_from_before_a_revocation_never_open(store: Store, objects: Any) -> None:
    """Also when the news of the login comes after the news of its end."""
    workspace(store, now=START)
    opened = event("session.created.v1", {"session_hash": sha256("secret"), "user_id": "ada"}, id_="s1", second=1)
    ended = event("session.all_revoked.v1", {"user_id": "ada"}, id_="s2", second=2)

    assert handle(store, objects, ended, opened) == [Outcome.ACCEPTED, Outcome.ACCEPTED]
    with pytest.raises(Refused):
        access.authenticate(store, "secret", now=NOW)


def test_failures_lock_out_in_any_order_and_once(store: Store, objects: Any) -> None:
    """Five failures that come backwards and twice are five failures."""
    workspace(store, now=START)
    failures = [
        event("security.event_recorded.v1", {"action": "login_failed", "user_id": "ada"}, id_=f"f{n}", second=n)
        for n in range(FAILURES)
    ]
    handle(store, objects, *reversed(failures), *failures)

    last = START + timedelta(seconds=FAILURES - 1)
    assert security.locked_until(store, DOOR, "ada", now=last) == last + LOCKED
    assert actions(store).count("locked_out") == 1
    assert actions(store).count("login_failed") == FAILURES


@pytest.mark.parametrize(
    ("type_", "data"),
    [
        ("member.added.v1", {"user_id": "bob@example.com", "role": "Viewer"}),
        ("member.added.v1", {"user_id": "bob", "role": "Owner"}),
        ("member.added.v1", {"user_id": "bob", "role": "Viewer", "workspace_id": "other"}),
        ("invitation.created.v1", {"invitation_id": "i", "email": "no", "role": "Viewer", "token_hash": "0" * 64}),
        ("invitation.created.v1", {"invitation_id": "i", "email": "a@b.c", "role": "Viewer", "token_hash": "secret"}),
        ("token.issued.v1", {"token_hash": "0" * 64, "purpose": "anything", "user_id": "bob"}),
        ("security.event_recorded.v1", {"action": "role_changed", "user_id": "bob"}),
        ("security.event_recorded.v1", {"action": "login", "user_id": "bob", "ip": "192.0.2.1"}),
        ("security.event_recorded.v1", {"action": "login", "user_id": "bob", "reason": "came from 192.0.2.1"}),
    ],
)
def test_what_no_service_may_say_is_rejected(type_: str, data: dict[str, Any], store: Store, objects: Any) -> None:
    """And what it said is not repeated where it is announced."""
    workspace(store, now=START)

    assert handle(store, objects, event(type_, data, id_="bad")) == [Outcome.REJECTED]
    [kept] = store.query(Table.EVENTS, "REJECT#operations#2026-11-23")
    assert kept["reason"] == "invalid_schema"
    assert "192.0.2.1" not in kept["message"]
    assert "@" not in kept["message"].replace("^[^@]+$", "")
