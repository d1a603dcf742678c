"""The life of an invitation, played through."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from tests.support.acts import NOW, act, member
from tests.support.stores.writes import Memory

from nilometer import CreateWorkspace, DeclareDataset, DeclaredColumn, Notify, SetFlag
from nilometer.domain.acts.roles import Role
from nilometer.domain.acts.secret import hash_of
from nilometer.domain.people.invitation import (
    KEPT,
    VALID,
    AcceptInvitation,
    DeclineInvitation,
    InvitationStatus,
    Invite,
    Presented,
    ResendInvitation,
    RevokeInvitation,
    checked_email,
    invitation_of,
    same_address,
    slot,
)
from nilometer.domain.people.membership import AddMember, ChangeRole, RemoveMember, membership_of
from nilometer.domain.store import keys
from nilometer.domain.store.writes import Item
from nilometer.errors import Refused, Rejected

WORKSPACE, KEY = keys.workspace("ws"), keys.invitation("ws", "inv")
ADA = member("ada", Role.ADMIN)
PENDING, EXPIRED = InvitationStatus.PENDING, InvitationStatus.EXPIRED
USERS = st.sampled_from(["bob", "eve"])


class Life(RuleBasedStateMachine):
    """One invitation, two people who have seen its link, an Admin, and time."""

    def __init__(self) -> None:
        super().__init__()
        self.stored = Memory()
        self.stored[WORKSPACE] = {"pk": WORKSPACE.pk, "sk": WORKSPACE.sk, "version": 1, "admins": 1, "status": "active"}
        self.now = NOW
        self.tokens = ["token 0"]
        self.ends = NOW + VALID
        self.status = PENDING
        self.winner: str | None = None
        self.stored.does(act(), AddMember(user_id="ada", role=Role.ADMIN))
        deed = Invite(invitation_id="inv", email="bob@example.com", role=Role.ANALYST, token_hash=hash_of("token 0"))
        self.stored.does(act(ADA), deed)

    @property
    def item(self) -> Item | None:
        return self.stored.get(KEY)

    def is_gone(self) -> bool:
        return self.now >= self.ends + KEPT

    def seen(self) -> InvitationStatus:
        return EXPIRED if self.status is PENDING and self.now >= self.ends else self.status

    @rule(user=USERS, which=st.integers(0, 3))
    def accept(self, user: str, which: int) -> None:
        token = self.tokens[which % len(self.tokens)]
        may = token == self.tokens[-1] and not self.is_gone()
        first, again = self.seen() is PENDING, self.winner == user
        try:
            presented = Presented(hash_of(token), "Bob@example.com")
            deed = AcceptInvitation(invitation_id="inv", user_id=user, presented=presented)
            writes = self.stored.does(act(now=self.now), deed)
        except Refused:
            assert not (may and (first or again))
            return
        assert may
        assert first or (again and not writes)
        self.status, self.winner = InvitationStatus.ACCEPTED, user

    @rule(status=st.sampled_from([InvitationStatus.DECLINED, InvitationStatus.REVOKED]))
    def end(self, status: InvitationStatus) -> None:
        deed = RevokeInvitation if status is InvitationStatus.REVOKED else DeclineInvitation
        may = not self.is_gone() and (self.seen() is PENDING or self.status is status)
        try:
            self.stored.does(act(ADA, now=self.now), deed(invitation_id="inv"))
        except Refused:
            assert not may
            return
        assert may
        self.status = status

    @rule()
    def resend(self) -> None:
        token = f"token {len(self.tokens)}"
        may = self.status is PENDING and not self.is_gone()
        try:
            self.stored.does(act(ADA, now=self.now), resend(token))
        except Refused:
            assert not may
            return
        assert may
        self.tokens.append(token)
        self.ends = self.now + VALID

    @rule(days=st.sampled_from([1, 3, 7, 31]))
    def time_passes(self, days: int) -> None:
        self.now += timedelta(days=days)

    @invariant()
    def it_is_seen_as_it_is(self) -> None:
        found = invitation_of(self.item, self.now)
        assert (found and found.status) == (None if self.is_gone() else self.seen())

    @invariant()
    def one_became_a_member_or_nobody(self) -> None:
        members = [user for user in ("bob", "eve") if membership_of(self.stored.get(keys.member("ws", user)))]
        assert members == ([self.winner] if self.winner else [])

    @invariant()
    def only_the_newest_token_is_in_the_index(self) -> None:
        assert self.item
        assert self.item["gsi1pk"] == keys.invitation_token(hash_of(self.tokens[-1]))


Life.TestCase.settings = settings(max_examples=150, stateful_step_count=25, deadline=None)
TestLife = Life.TestCase


@pytest.mark.parametrize("role", [Role.ANALYST, Role.VIEWER])
def test_who_may_not_invite_may_not_revoke_or_resend(role: Role) -> None:
    """The permission is asked before anything else."""
    for deed in (INVITE, RevokeInvitation(invitation_id="inv"), resend("x")):
        with pytest.raises(Refused, match=r"member\.invite"):
            Memory().does(act(member("vi", role)), deed)


def test_a_late_resending_does_not_bring_an_old_token_back() -> None:
    """Of two, the newer one counts, in any order."""
    stored = Memory()
    stored.does(act(stamp="1"), INVITE)
    stored.does(act(stamp="3"), resend("newer"))

    assert stored.does(act(stamp="2"), resend("older")) == []


@pytest.mark.parametrize("email", ["", "a", "@b", "a@", "a b@c.d", "a@" + "b" * 260, "a@b\n.c"])
def test_what_is_no_address_is_rejected_without_repeating_it(email: str) -> None:
    """Errors reach logs."""
    with pytest.raises(Rejected) as caught:
        checked_email(email)

    assert not email.strip() or len(email) < 3 or email not in str(caught.value)


def resend(token: str) -> ResendInvitation:
    return ResendInvitation(invitation_id="inv", token_hash=hash_of(token))


INVITE = Invite(invitation_id="inv", email="bob@example.com", role=Role.VIEWER, token_hash=hash_of("token"))


COLUMN = DeclaredColumn(name="a", type="string")
LEFT = Role.ANALYST, Role.VIEWER, None


def invited(role: Role = Role.ANALYST) -> Memory:
    """A workspace with the Admins ada and eve, and an invitation of ada's as whom she was."""
    stored = Memory()
    stored[WORKSPACE] = {"pk": WORKSPACE.pk, "sk": WORKSPACE.sk, "version": 1, "admins": 0, "status": "active"}
    for user_id in ("eve", "ada"):
        stored.does(act(), AddMember(user_id=user_id, role=Role.ADMIN))
    deed = Invite(invitation_id="inv", email="bob@example.com", role=role, token_hash=hash_of("token"))
    stored.does(act(ADA), deed)
    return stored


@pytest.mark.parametrize("now", LEFT)
def test_a_pending_invitation_ends_with_its_inviter_s_rights(now: Role | None) -> None:
    """Whoever may no longer invite has no invitation accepted; a service or another member sends it again."""
    stored = invited()
    lost = ChangeRole(user_id="ada", role=now) if now else RemoveMember(user_id="ada")
    stored.does(act(now=NOW + timedelta(minutes=1)), lost)
    accepts = AcceptInvitation(invitation_id="inv", user_id="bob")

    with pytest.raises(Refused):
        stored.does(act(now=NOW + timedelta(minutes=2)), accepts)
    stored.does(act(member("eve", Role.ADMIN), now=NOW + timedelta(minutes=3)), resend("again"))
    assert stored.does(act(now=NOW + timedelta(minutes=4)), accepts)


def test_a_manager_s_invitation_gives_no_more_than_he_may_give() -> None:
    """He invited a Manager as an Admin, and is a Manager himself now."""
    stored = invited(Role.MANAGER)
    stored.does(act(), ChangeRole(user_id="ada", role=Role.MANAGER))

    with pytest.raises(Refused):
        stored.does(act(), AcceptInvitation(invitation_id="inv", user_id="bob"))


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("Bob@Example.com", "bob@example.COM", True),
        (" bob@example.com ", "bob@example.com", True),
        ("maße@example.com", "masse@example.com", False),
        ("maße@example.com", "MASSE@example.com", False),
        ("ki\u212aki@example.com", "kikki@example.com", False),
        ("\u0131@example.com", "i@example.com", False),
        ("\u0130@example.com", "i@example.com", False),
        ("\ufb01n@example.com", "fin@example.com", False),
    ],
)
def test_addresses_compare_by_a_rule_that_joins_no_two_persons(one: str, other: str, same: bool) -> None:
    """Letters of ASCII without regard to case, and every other character as it is written."""
    assert same_address(one, other) is same
    assert (slot(act(), one) == slot(act(), other)) or not same


def test_an_invitation_s_id_is_not_used_again() -> None:
    """Its new token would open nothing. The same token again, and what an event reports, changes nothing."""
    stored = invited()
    known = {"invitation_id": "inv", "email": "bob@example.com", "role": Role.ANALYST}
    for email in ("bob@example.com", "eve@example.com"):
        with pytest.raises(Refused, match="send it again"):
            stored.does(act(ADA), Invite(**{**known, "email": email}, token_hash=hash_of("other")))

    assert stored.does(act(ADA), Invite(**known, token_hash=hash_of("token"))) == []
    assert stored.does(act(stamp="9"), Invite(**known, token_hash=hash_of("other"))) == []


def test_one_invitation_is_pending_an_address() -> None:
    """Until it ended or was taken back; another address may share its slot."""
    stored = invited()
    again = Invite(invitation_id="inv2", email="BOB@example.com", role=Role.VIEWER, token_hash=hash_of("other"))
    with pytest.raises(Refused, match="pending"):
        stored.does(act(ADA), again)
    near = next(
        email for n in range(5_000) if slot(act(), email := f"u{n}@example.com") == slot(act(), "bob@example.com")
    )
    stored.does(act(ADA), Invite(invitation_id="inv3", email=near, role=Role.VIEWER, token_hash=hash_of("third")))
    stored.does(act(ADA), RevokeInvitation(invitation_id="inv"))

    assert stored.does(act(ADA), again)
    assert stored[slot(act(), near)]["pending"].keys() == {"inv", "inv2", "inv3"}


def test_an_invitation_is_not_valid_for_ever() -> None:
    """At most 30 days: less than the mark of an inviter who has left is kept."""
    with pytest.raises(Rejected, match="30 days"):
        Memory().does(act(), Invite(**{**vars(INVITE), "valid_until": NOW + timedelta(days=31)}))


@pytest.mark.parametrize(
    "deed",
    [
        lambda text: CreateWorkspace(name=text),
        lambda text: Notify(user_id="u", topic="exports.ready", title=text),
        lambda text: Notify(user_id="u", topic="exports.ready", title="t", text=text),
        lambda text: SetFlag(flag="exports", description=text),
        lambda text: Invite(email=f"{text}@example.com", role=Role.VIEWER, token_hash=hash_of("x")),
        lambda text: DeclareDataset(
            dataset="d", mode="append", columns=[DeclaredColumn(name="a", type="string")], description=text
        ),
    ],
)
@pytest.mark.parametrize("text", ["a\x1b[2J", "a\x00", "a\x9b1m", "invoice\u202egpj.exe", "a\u2066b", "a\ud800"])
def test_no_text_holds_what_acts_instead_of_being_shown(deed: Any, text: str) -> None:
    """Control characters, escapes of terminals and turned directions are rejected, and so is half a character."""
    with pytest.raises(Rejected):
        Memory().does(act(), deed(text))
