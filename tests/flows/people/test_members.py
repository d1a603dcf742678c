"""Members and invitations, on a real engine."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from functools import partial
from typing import Any, cast

import pytest
from tests.support.faulty import FaultyStore
from tests.support.flows.operations import NOW
from tests.support.people import actions, admins, member, race, roles, won, workspace

from nilometer import AddMember, ChangeRole, Invite, RemoveMember, ResendInvitation, RevokeInvitation, issue, perform
from nilometer.aws.dynamodb import Store
from nilometer.client.testing.memory import MemoryStore
from nilometer.domain.acts.act import service
from nilometer.domain.acts.roles import Role
from nilometer.domain.acts.secret import hash_of
from nilometer.domain.people.invitation import InvitationStatus
from nilometer.domain.store import keys
from nilometer.domain.store.writes import Table
from nilometer.errors import Cancelled, Refused, Rejected, Unavailable
from nilometer.flows.people import members as people

LATER = NOW + timedelta(minutes=1)


def test_a_member_is_found_from_both_sides(store: Store) -> None:
    """From the workspace and from the user, who may be in several."""
    ada = workspace(store, bob=Role.ANALYST)
    workspace(store, "other", bob=Role.VIEWER)

    assert {one.user_id: one.role for one in people.members(store, ada)} == {"ada": Role.ADMIN, "bob": Role.ANALYST}
    assert {one.workspace_id: one.role for one in people.workspaces_of(store, "bob")} == {
        "ws": Role.ANALYST,
        "other": Role.VIEWER,
    }


def test_a_role_changes_with_its_entry_in_the_log(store: Store) -> None:
    """The record says who did it; doing it again writes nothing."""
    ada = workspace(store, bob=Role.VIEWER)
    before = actions(store)

    perform(store, ada, ChangeRole(user_id="bob", role=Role.MANAGER), now=LATER)
    perform(store, ada, ChangeRole(user_id="bob", role=Role.MANAGER), now=LATER)

    record = store.get(Table.RECORDS, keys.member("ws", "bob")) or {}
    assert (record["role"], record["actor"], record["version"]) == ("Manager", "ada", 2)
    assert actions(store) == [*before, "role_changed"]


@pytest.mark.parametrize("role", [Role.MANAGER, Role.ANALYST, Role.VIEWER])
def test_the_last_admin_stays(role: Role, store: Store) -> None:
    """She cannot leave, be removed or be demoted, by herself or by a service."""
    ada = workspace(store, bob=role)

    for by in (ada, service("ws", "operator")):
        with pytest.raises(Refused, match="no Admin"):
            perform(store, by, RemoveMember(user_id="ada"), now=LATER)
        with pytest.raises(Refused, match="no Admin"):
            perform(store, by, ChangeRole(user_id="ada", role=role), now=LATER)
    assert (roles(store)["ada"], admins(store)) == (Role.ADMIN, 1)


def test_of_two_admins_one_may_leave(store: Store) -> None:
    """The count follows who comes and goes."""
    ada = workspace(store, bob=Role.ADMIN)
    assert admins(store) == 2

    perform(store, ada, RemoveMember(user_id="ada"), now=LATER)

    assert (roles(store), admins(store)) == ({"bob": Role.ADMIN}, 1)
    assert people.workspaces_of(store, "ada") == []


def test_a_manager_rules_those_below(store: Store) -> None:
    """He may not make or unmake Managers and Admins, himself included."""
    workspace(store, max=Role.MANAGER, meg=Role.MANAGER, ann=Role.ANALYST)
    max_ = member("max", Role.MANAGER)

    perform(store, max_, ChangeRole(user_id="ann", role=Role.VIEWER), now=LATER)
    for user_id, role in (("ann", Role.MANAGER), ("max", Role.ADMIN), ("meg", Role.VIEWER)):
        with pytest.raises(Refused, match="ask an Admin"):
            perform(store, max_, ChangeRole(user_id=user_id, role=role), now=LATER)
    with pytest.raises(Refused, match="ask an Admin"):
        perform(store, max_, RemoveMember(user_id="ada"), now=LATER)
    with pytest.raises(Refused, match="ask an Admin"):
        issue(store, max_, Invite(email="x@example.com", role=Role.MANAGER), now=LATER)


def test_a_role_is_what_is_stored_not_what_the_caller_says(store: Store) -> None:
    """A caller made before a demotion has lost what he had."""
    ada = workspace(store, bob=Role.ADMIN)
    perform(store, ada, ChangeRole(user_id="bob", role=Role.VIEWER), now=LATER)

    with pytest.raises(Refused, match="Viewers may not"):
        perform(store, member("bob", Role.ADMIN), ChangeRole(user_id="ada", role=Role.VIEWER), now=LATER)
    with pytest.raises(Refused, match="no member"):
        people.members(store, member("eve", Role.ADMIN))


def test_who_was_removed_can_come_back(store: Store) -> None:
    """With a new role and a new day of joining."""
    ada = workspace(store, bob=Role.MANAGER)
    perform(store, ada, RemoveMember(user_id="bob"), now=LATER)

    perform(store, service("ws", "services"), AddMember(user_id="bob", role=Role.VIEWER), now=LATER + timedelta(days=1))

    assert roles(store)["bob"] is Role.VIEWER
    assert "expires_at" not in (store.get(Table.RECORDS, keys.member("ws", "bob")) or {})


def test_an_address_is_no_user_id(store: Store) -> None:
    """Ids travel to the lake."""
    workspace(store)

    with pytest.raises(Rejected):
        perform(store, service("ws", "services"), AddMember(user_id="bob@example.com", role=Role.VIEWER), now=NOW)


def test_an_invitation_becomes_a_membership_once(store: Store) -> None:
    """Whoever holds the token and the address; again after a lost answer, and by nobody else."""
    ada = workspace(store)
    sent = issue(store, ada, Invite(email="Bob@example.com", role=Role.ANALYST), now=NOW)

    first = people.accept_invitation(store, sent.token, user_id="bob", email="bob@example.com", now=LATER)
    again = people.accept_invitation(store, sent.token, user_id="bob", email="bob@example.com", now=LATER)

    assert first == again
    assert first.role is Role.ANALYST
    with pytest.raises(Refused, match="accepted"):
        people.accept_invitation(store, sent.token, user_id="eve", email="bob@example.com", now=LATER)
    assert [one.status for one in people.invitations(store, ada, now=LATER)] == [InvitationStatus.ACCEPTED]


def test_a_token_is_stored_as_its_hash_only(store: Store) -> None:
    """And is not in what is printed of the answer."""
    sent = issue(store, workspace(store), Invite(email="bob@example.com", role=Role.VIEWER), now=NOW)

    stored = repr(list(store.query(Table.RECORDS, keys.workspace("ws").pk)))
    assert sent.token not in stored
    assert hash_of(sent.token) in stored
    assert sent.token not in repr(sent)
    assert "bob@" not in repr(sent)


def test_an_invitation_needs_its_address(store: Store) -> None:
    """A forwarded mail invites nobody else, and is not told why."""
    sent = issue(store, workspace(store), Invite(email="bob@example.com", role=Role.VIEWER), now=NOW)

    with pytest.raises(Refused, match="not valid"):
        people.accept_invitation(store, sent.token, user_id="eve", email="eve@example.com", now=LATER)
    with pytest.raises(Refused, match="not valid"):
        people.accept_invitation(store, "nil_invite_guess", user_id="eve", email="bob@example.com", now=LATER)


def test_an_invitation_ends_before_dynamodb_removes_it(store: Store) -> None:
    """A week later it is expired, though the item is there; sending it again gives it a new week and a new token."""
    ada = workspace(store)
    sent = issue(store, ada, Invite(email="bob@example.com", role=Role.VIEWER), now=NOW)
    after = NOW + timedelta(days=7)

    with pytest.raises(Refused, match="expired"):
        people.accept_invitation(store, sent.token, user_id="bob", email="bob@example.com", now=after)
    assert [one.status for one in people.invitations(store, ada, now=after)] == [InvitationStatus.EXPIRED]
    item = store.get(Table.RECORDS, keys.invitation("ws", sent.of.id)) or {}
    assert item["expires_at"] == int((after + timedelta(days=30)).timestamp())

    again = issue(store, ada, ResendInvitation(invitation_id=sent.of.id), now=after)
    with pytest.raises(Refused, match="not valid"):
        people.accept_invitation(store, sent.token, user_id="bob", email="bob@example.com", now=after)
    people.accept_invitation(store, again.token, user_id="bob", email="bob@example.com", now=after)
    assert roles(store)["bob"] is Role.VIEWER


def test_an_invitation_that_expired_on_disk_is_gone(store: Store) -> None:
    """Its item may stay two days longer: nobody sees it."""
    ada = workspace(store)
    sent = issue(store, ada, Invite(email="bob@example.com", role=Role.VIEWER), now=NOW)
    gone = NOW + timedelta(days=37)

    assert people.invitations(store, ada, now=gone) == []
    with pytest.raises(Refused, match="not valid"):
        issue(store, ada, ResendInvitation(invitation_id=sent.of.id), now=gone)


def test_what_is_revoked_or_declined_is_over(store: Store) -> None:
    """Neither can be accepted or sent again."""
    ada = workspace(store)
    revoked = issue(store, ada, Invite(email="bob@example.com", role=Role.VIEWER), now=NOW)
    declined = issue(store, ada, Invite(email="cy@example.com", role=Role.VIEWER), now=NOW)
    for _ in range(2):
        perform(store, ada, RevokeInvitation(invitation_id=revoked.of.id), now=LATER)
        people.decline_invitation(store, declined.token, now=LATER)

    for sent, email in ((revoked, "bob@example.com"), (declined, "cy@example.com")):
        with pytest.raises(Refused):
            people.accept_invitation(store, sent.token, user_id="x", email=email, now=LATER)
        with pytest.raises(Refused):
            issue(store, ada, ResendInvitation(invitation_id=sent.of.id), now=LATER)
    assert actions(store)[-2:] in (
        ["invitation_revoked", "invitation_declined"],
        ["invitation_declined", "invitation_revoked"],
    )


def test_one_invitation_is_pending_for_an_address(store: Store) -> None:
    """The answer to the second names the one to send again."""
    ada = workspace(store)
    issue(store, ada, Invite(email="bob@example.com", role=Role.VIEWER), now=NOW)

    with pytest.raises(Refused, match="pending"):
        issue(store, ada, Invite(email=" BOB@example.com", role=Role.VIEWER), now=NOW)


def test_who_loses_his_role_in_between_writes_nothing(store: Store) -> None:
    """Between the read and the write of what a Manager does, he is demoted: it is decided anew, and refused."""
    ada = workspace(store, max=Role.MANAGER)

    def demoted(call: str, _number: int, landed: bool) -> None:
        if call == "commit" and not landed and roles(store)["max"] is Role.MANAGER:
            perform(store, ada, ChangeRole(user_id="max", role=Role.VIEWER), now=LATER)

    slow = cast(Store, FaultyStore(store, demoted))
    with pytest.raises(Refused, match="Viewers may not"):
        issue(slow, member("max", Role.MANAGER), Invite(email="x@example.com", role=Role.VIEWER), now=LATER)
    assert people.invitations(store, ada, now=LATER) == []


@pytest.mark.parametrize("landed", [False, True])
def test_an_answer_that_is_lost_can_be_asked_for_again(landed: bool, store: Store) -> None:
    """Whether the first try was stored or not, the second ends in one membership and one entry."""
    workspace(store)
    once = [Unavailable("no answer")]

    def lost(call: str, _number: int, after: bool) -> None:
        if call == "commit" and after is landed and once:
            raise once.pop()

    shaky, door = cast(Store, FaultyStore(store, lost)), service("ws", "services")
    with pytest.raises(Unavailable):
        perform(shaky, door, AddMember(user_id="bob", role=Role.ADMIN), now=LATER)
    perform(shaky, door, AddMember(user_id="bob", role=Role.ADMIN), now=LATER)

    assert (roles(store)["bob"], admins(store)) == (Role.ADMIN, 2)
    assert actions(store).count("member_added") == 2


def test_of_fifty_invitations_at_once_to_one_address_one_is_sent(store: Store) -> None:
    """By two Admins, under two spellings; the others are refused, and the one that was sent is accepted."""
    workspace(store, eve=Role.ADMIN)
    callers = [member("ada", Role.ADMIN), member("eve", Role.ADMIN)]
    deeds = [Invite(email=email, role=Role.VIEWER) for email in ("Bob@example.com", "bob@EXAMPLE.com")]
    answers = race([partial(issue, store, callers[n % 2], deeds[n // 2 % 2], now=LATER) for n in range(50)])

    [sent] = won(answers)
    assert {type(answer) for answer in answers} <= {type(sent), Refused, Cancelled}
    assert [one.id for one in people.invitations(store, callers[0], now=LATER)] == [sent.of.id]
    joined = people.accept_invitation(store, sent.token, user_id="bob", email="bob@example.com", now=LATER)
    assert joined.role is Role.VIEWER


class Read(MemoryStore):
    """How many items were read by queries."""

    items_read = 0

    def query(self, *args: Any, **given: Any) -> Iterator[dict[str, Any]]:
        for item in super().query(*args, **given):
            self.items_read += 1
            yield item


@pytest.mark.parametrize("made", [40, 120])
def test_pages_cost_what_they_show(made: int) -> None:
    """All pages together read each member and invitation about once, also of those with a separator in their id."""
    store = Read()
    ada = workspace(store)
    expected = {"ada"}
    for number in range(made):
        expected.add(f"user{'#%_'[number % 3]}{number}")
    for user_id in sorted(expected - {"ada"}):
        perform(store, service("ws", "s"), AddMember(user_id=user_id, role=Role.VIEWER), now=NOW)
        issue(store, ada, Invite(email=f"{len(user_id)}{user_id}@b.test", role=Role.VIEWER), now=NOW)
    store.items_read = 0

    found = [*_pages(lambda after: people.members(store, ada, after=after, limit=10), "user_id")]
    invited = [*_pages(lambda after: people.invitations(store, ada, now=LATER, after=after, limit=10), "id")]

    assert (set(found), len(found), len(set(invited)), len(invited)) == (expected, made + 1, made, made)
    assert store.items_read <= 2 * (made + 1) + made // 5 + 4


def _pages(ask: Callable[[str], Sequence[Any]], name: str) -> Iterator[str]:
    after = ""
    while shown := ask(after):
        yield from (getattr(one, name) for one in shown)
        after = getattr(shown[-1], name)
