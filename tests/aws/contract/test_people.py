"""Who is first is in, the last Admin stays: with eight at once, on every engine."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, cast

import pytest
from tests.support.flows.operations import NOW, envelope
from tests.support.people import RACERS, actions, admins, member, race, roles, won, workspace
from tests.support.stores.engine import new_store

from nilometer import ChangeRole, CreateWorkspace, Invite, IssueToken, RemoveMember, ReportSecurity, issue, perform
from nilometer.aws.dynamodb import Store
from nilometer.aws.s3 import Objects
from nilometer.domain.access.token import TokenPurpose
from nilometer.domain.acts.act import service
from nilometer.domain.acts.roles import Role
from nilometer.domain.acts.security import Reported
from nilometer.domain.events.outcome import Message, Outcome
from nilometer.domain.store import keys
from nilometer.domain.store.writes import Table
from nilometer.errors import Cancelled
from nilometer.flows.operations import batch as operations
from nilometer.flows.people import access, security
from nilometer.flows.people import members as people

LATER = NOW + timedelta(minutes=1)
DOOR = service("ws", "services")


@pytest.fixture
def store(client: Any) -> Store:
    """With the index, which invitations are found by."""
    return new_store(client)


def test_eight_want_one_slug_and_one_has_it(store: Store) -> None:
    """The seven others have no workspace, no member and no entry."""
    answers = race(
        lambda n=n: perform(
            store, service(f"ws{n}", "s"), CreateWorkspace(name="Acme", slug="acme", admin="ada"), now=NOW
        )
        for n in range(RACERS)
    )

    [winner] = won(answers)
    assert (store.get(Table.RECORDS, keys.slug("acme")) or {})["workspace_id"] == winner["workspace_id"]
    assert [one["workspace_id"] for one in store.scan(Table.RECORDS, kind="workspace")] == [winner["workspace_id"]]
    assert len(list(store.scan(Table.RECORDS, kind="membership"))) == 1


def test_eight_accept_at_once_and_one_is_in(store: Store) -> None:
    """Who has the link first; the others are refused and no member is left behind."""
    sent = issue(store, workspace(store), Invite(email="bob@example.com", role=Role.ADMIN), now=NOW)
    users = [f"user{n}" for n in range(RACERS)]

    answers = race(
        lambda user=user: people.accept_invitation(store, sent.token, user_id=user, email="bob@example.com", now=LATER)
        for user in users
    )

    [winner] = won(answers)
    assert roles(store) == {"ada": Role.ADMIN, winner.user_id: Role.ADMIN}
    assert admins(store) == 2


def test_of_eight_admins_who_leave_at_once_one_stays(store: Store) -> None:
    """Some leave, some demote themselves: the workspace is never without."""
    others = {f"admin{n}": Role.ADMIN for n in range(RACERS - 1)}
    workspace(store, **others)
    callers = [member(user_id, Role.ADMIN) for user_id in ("ada", *others)]

    answers = race(
        (lambda one=one: perform(store, one, RemoveMember(user_id=one.user_id), now=LATER))
        if n % 2
        else (
            lambda one=one: perform(store, one, ChangeRole(user_id=one.user_id, role=Role.VIEWER), now=LATER) and None
        )
        for n, one in enumerate(callers)
    )

    left = [user for user, role in roles(store).items() if role is Role.ADMIN]
    gave_up = [one for one in answers if isinstance(one, Cancelled)]
    assert len(left) == admins(store) == 1 + len(gave_up)


def test_two_admins_who_demote_each_other_leave_one(store: Store) -> None:
    """The slower one is no Admin any more, and what he wanted is not done."""
    for n in range(4):
        workspace(store, f"ws{n}", bob=Role.ADMIN)
        ada, bob = member("ada", Role.ADMIN, f"ws{n}"), member("bob", Role.ADMIN, f"ws{n}")

        race(
            [
                lambda ada=ada: perform(store, ada, ChangeRole(user_id="bob", role=Role.VIEWER), now=LATER),
                lambda bob=bob: perform(store, bob, ChangeRole(user_id="ada", role=Role.VIEWER), now=LATER),
            ]
        )

        assert sorted(roles(store, f"ws{n}").values()) == [Role.ADMIN, Role.VIEWER]
        assert admins(store, f"ws{n}") == 1


def test_eight_use_one_token_at_once_and_one_succeeds(store: Store) -> None:
    """A reset link that is opened twice resets once."""
    workspace(store)
    issued = issue(store, DOOR, IssueToken(user_id="ada", purpose=TokenPurpose.PASSWORD_RESET), now=NOW)

    answers = race(
        (lambda: access.use_token(store, issued.token, purpose=TokenPurpose.PASSWORD_RESET, now=LATER))
        for _ in range(RACERS)
    )

    assert len(won(answers)) == 1
    assert actions(store).count("token_used") == 1


def test_eight_failures_at_once_lock_out_once(store: Store) -> None:
    """None is lost, and the signal comes once."""
    workspace(store)
    times = [NOW + timedelta(milliseconds=n) for n in range(RACERS)]

    race(
        (lambda at=at: perform(store, DOOR, ReportSecurity(action=Reported.LOGIN_FAILED, user_id="ada"), now=at))
        for at in times
    )

    assert security.locked_until(store, DOOR, "ada", now=NOW) is not None
    assert actions(store).count("locked_out") == 1
    assert actions(store).count("login_failed") == RACERS


def test_one_event_in_eight_hands_counts_once(store: Store) -> None:
    """One hand accepts it, the others find it: one membership, one entry, one more Admin."""
    workspace(store)
    data = {"user_id": "bob", "role": "Admin"}
    detail = {
        "specversion": "1.0",
        "id": "e1",
        "source": "/accounts",
        "type": "member.added.v1",
        "subject": "ws",
        "time": "2026-11-23T12:00:00Z",
        "data": data,
    }
    message = Message("1", envelope(detail))

    def handle() -> Outcome:
        # What cannot be kept is not what is tried here: no bucket is asked for.
        [result] = operations.handle([message], store=store, objects=cast(Objects, None), now=LATER)
        return result.outcome

    outcomes = race([handle] * RACERS)
    assert sorted(map(str, outcomes)) == ["accepted", *["duplicate"] * (RACERS - 1)]
    assert admins(store) == 2
    assert actions(store).count("member_added") == 2
