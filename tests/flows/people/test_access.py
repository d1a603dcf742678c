"""Sessions, one-time tokens and the security log, on a real engine."""

from __future__ import annotations

from datetime import timedelta

import pytest
from tests.support.flows.operations import NOW
from tests.support.people import actions, member, workspace

from nilometer import AddMember, EndSessions, IssueToken, OpenSession, RemoveMember, ReportSecurity, issue, perform
from nilometer.aws.dynamodb import Store
from nilometer.domain.access.lockout import FAILURES, LOCKED
from nilometer.domain.access.token import LIFETIME, TokenPurpose
from nilometer.domain.acts.act import service
from nilometer.domain.acts.roles import Role
from nilometer.domain.acts.secret import hash_of
from nilometer.domain.acts.security import Reported
from nilometer.domain.store import keys
from nilometer.domain.store.writes import Table
from nilometer.errors import Refused, Rejected
from nilometer.flows.people import access, security

LATER = NOW + timedelta(minutes=1)
DOOR = service("ws", "services")


def test_a_session_makes_the_caller(store: Store) -> None:
    """Workspace, user and role of this moment; the token is stored as its hash."""
    workspace(store, bob=Role.ANALYST)
    opened = issue(store, DOOR, OpenSession(user_id="bob"), now=LATER)

    assert access.authenticate(store, opened.token, now=LATER) == member("bob", Role.ANALYST)
    assert opened.token not in repr(list(store.scan(Table.RECORDS)))
    with pytest.raises(Refused, match="not valid"):
        access.authenticate(store, opened.token + "x", now=LATER)


def test_a_session_ends_before_dynamodb_removes_it(store: Store) -> None:
    """The item is there and the session is not."""
    workspace(store)
    opened = issue(store, DOOR, OpenSession(user_id="ada", valid_until=NOW + timedelta(hours=1)), now=NOW)
    end = NOW + timedelta(hours=1)

    access.authenticate(store, opened.token, now=end - timedelta(seconds=1))
    with pytest.raises(Refused):
        access.authenticate(store, opened.token, now=end)
    item = store.get(Table.RECORDS, keys.session(hash_of(opened.token))) or {}
    assert item["expires_at"] == int(end.timestamp())
    assert access.sessions(store, member("ada", Role.ADMIN), now=end) == []


def test_who_is_removed_is_out_at_once(store: Store) -> None:
    """And his old sessions stay out when he comes back."""
    ada = workspace(store, bob=Role.VIEWER)
    opened = issue(store, DOOR, OpenSession(user_id="bob"), now=NOW)
    perform(store, ada, RemoveMember(user_id="bob"), now=LATER)

    with pytest.raises(Refused):
        access.authenticate(store, opened.token, now=LATER)
    perform(store, DOOR, AddMember(user_id="bob", role=Role.VIEWER), now=LATER)
    with pytest.raises(Refused):
        access.authenticate(store, opened.token, now=LATER)


def test_one_session_is_revoked_by_its_id(store: Store) -> None:
    """By its user or an Admin, and by nobody else; the others go on."""
    ada = workspace(store, bob=Role.MANAGER, cy=Role.VIEWER)
    bob = member("bob", Role.MANAGER)
    first, second = (issue(store, DOOR, OpenSession(user_id="bob"), now=NOW) for _ in range(2))
    assert {one.id for one in access.sessions(store, bob, now=LATER)} == {first.of.id, second.of.id}

    for _ in range(2):
        access.revoke_session(store, bob, first.of.id, now=LATER)
    with pytest.raises(Refused):
        access.revoke_session(store, member("cy", Role.VIEWER), second.of.id, user_id="bob", now=LATER)
    with pytest.raises(Refused):
        access.authenticate(store, first.token, now=LATER)
    access.authenticate(store, second.token, now=LATER)
    access.revoke_session(store, ada, second.of.id, user_id="bob", now=LATER)
    assert access.sessions(store, ada, user_id="bob", now=LATER) == []
    assert actions(store).count("session_revoked") == 2


def test_all_sessions_of_a_member_end_with_one_write(store: Store) -> None:
    """What is opened afterwards is valid."""
    ada = workspace(store, bob=Role.VIEWER)
    before = [issue(store, DOOR, OpenSession(user_id="bob"), now=NOW) for _ in range(3)]

    perform(store, ada, EndSessions(user_id="bob"), now=LATER)

    for one in before:
        with pytest.raises(Refused):
            access.authenticate(store, one.token, now=LATER)
    after = issue(store, DOOR, OpenSession(user_id="bob"), now=LATER + timedelta(seconds=1))
    assert access.authenticate(store, after.token, now=LATER + timedelta(seconds=2)).user_id == "bob"
    with pytest.raises(Refused):
        perform(store, member("bob", Role.VIEWER), EndSessions(user_id="ada"), now=LATER)


def test_a_logout_is_in_the_log(store: Store) -> None:
    """Once, however often it is said."""
    workspace(store)
    opened = issue(store, DOOR, OpenSession(user_id="ada"), now=NOW + timedelta(seconds=1))
    for _ in range(2):
        access.log_out(store, opened.token, now=LATER)

    assert actions(store)[-2:] == ["login", "logout"]
    with pytest.raises(Refused):
        access.authenticate(store, opened.token, now=LATER)


def test_only_services_open_sessions_and_issue_tokens(store: Store) -> None:
    """Not even an Admin opens one for another."""
    ada = workspace(store, bob=Role.VIEWER)

    with pytest.raises(Refused, match="ask an operator"):
        issue(store, ada, OpenSession(user_id="bob"), now=NOW)
    with pytest.raises(Refused, match="ask an operator"):
        issue(store, ada, IssueToken(user_id="bob", purpose=TokenPurpose.PASSWORD_RESET), now=NOW)
    with pytest.raises(Refused, match="no member"):
        issue(store, DOOR, OpenSession(user_id="eve"), now=NOW)


@pytest.mark.parametrize("purpose", TokenPurpose)
def test_a_token_works_once_in_its_time_for_its_purpose(purpose: TokenPurpose, store: Store) -> None:
    """Every other use is refused in the same words."""
    workspace(store)
    issued = issue(store, DOOR, IssueToken(user_id="ada", purpose=purpose), now=NOW)
    other = next(one for one in TokenPurpose if one is not purpose)
    end = NOW + LIFETIME[purpose]

    for wrong, at in ((other, LATER), (purpose, end)):
        with pytest.raises(Refused, match="not valid"):
            access.use_token(store, issued.token, purpose=wrong, now=at)
    proved = access.use_token(store, issued.token, purpose=purpose, now=end - timedelta(seconds=1))
    assert (proved.user_id, proved.workspace_id) == ("ada", "ws")
    with pytest.raises(Refused, match="not valid"):
        access.use_token(store, issued.token, purpose=purpose, now=LATER)
    item = store.get(Table.RECORDS, keys.token(hash_of(issued.token))) or {}
    assert item["expires_at"] == int(end.timestamp())
    assert actions(store)[-1] == "token_used"


def test_repeated_failures_lock_a_member_out(store: Store) -> None:
    """For a while; the record and the log entry are the signal."""
    workspace(store)
    for n in range(FAILURES):
        at = NOW + timedelta(seconds=n)
        until = perform(store, DOOR, ReportSecurity(action=Reported.LOGIN_FAILED, user_id="ada"), now=at)
    last = NOW + timedelta(seconds=FAILURES - 1)

    assert until == last + LOCKED == security.locked_until(store, DOOR, "ada", now=last)
    with pytest.raises(Refused, match="locked out until"):
        issue(store, DOOR, OpenSession(user_id="ada"), now=last)
    issue(store, DOOR, OpenSession(user_id="ada"), now=last + LOCKED)
    assert actions(store).count("locked_out") == 1
    assert (store.get(Table.RECORDS, keys.lockout("ws", "ada")) or {})["expires_at"] > int(NOW.timestamp())


def test_the_log_is_read_by_time_and_by_actor(store: Store) -> None:
    """The newest first; by Admins, and by everybody of himself."""
    ada = workspace(store, bob=Role.VIEWER)
    for n, user in enumerate(("bob", "eve", "bob")):
        perform(
            store,
            DOOR,
            ReportSecurity(action=Reported.KEY_USED, user_id=user, object_id=f"key{n}"),
            now=LATER + timedelta(hours=n),
        )

    found = security.entries(store, ada, since=LATER, now=LATER)
    assert [one.object_id for one in found] == ["key2", "key1", "key0"]
    mine = security.entries_by(store, member("bob", Role.VIEWER), "bob", now=LATER)
    assert [one.object_id for one in mine] == ["key2", "key0"]
    with pytest.raises(Refused):
        security.entries(store, member("bob", Role.VIEWER), now=LATER)
    assert security.entries(store, ada, now=LATER + timedelta(days=401)) == []


@pytest.mark.parametrize(
    "given", [{"reason": "from 192.0.2.1"}, {"object_id": "ada@example.com"}, {"user_id": "a@b.c"}]
)
def test_the_log_takes_no_texts_and_no_addresses(given: dict[str, str], store: Store) -> None:
    """It reaches the lake."""
    workspace(store)

    with pytest.raises(Rejected):
        perform(store, DOOR, ReportSecurity(action=Reported.KEY_USED, **{"user_id": "ada", **given}), now=LATER)
    assert actions(store) == ["member_added"]
