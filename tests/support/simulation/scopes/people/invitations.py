"""Scopes of invitations: one holder, one acceptance, and only while who invited may invite."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from tests.support.simulation.kernel.scope import NOW, Plant, Scope
from tests.support.simulation.scopes.events import said
from tests.support.simulation.scopes.people.members import (
    DOOR,
    admin,
    attempt,
    members_of,
    operated,
    two_admins,
)
from tests.support.simulation.scopes.usage.counting import law

from nilometer import (
    ChangeRole,
    Invite,
    ResendInvitation,
    RevokeInvitation,
    issue,
    perform,
)
from nilometer.domain.acts.roles import Role
from nilometer.domain.people.membership import membership_of
from nilometer.domain.store import keys
from nilometer.domain.store.writes import Table
from nilometer.errors import Refused
from nilometer.flows.people import members

INVITED = "x@example.com"


def an_invitation_for_one(plant: Plant) -> Callable[[], None]:
    """Two users hold the token of one invitation; its inviter takes it back at that moment."""
    invited = issue(plant.store, DOOR, Invite(email=INVITED, role=Role.MANAGER), now=NOW)
    answers: Counter[str] = Counter()
    for user_id in ("n1", "n2"):
        attempt(
            plant,
            f"{user_id} accepts",
            lambda user_id=user_id: members.accept_invitation(  # type: ignore[misc]
                plant.store, invited.token, user_id=user_id, email=INVITED, now=NOW
            ),
            answers,
        )
    invitation_id = invited.of.id
    attempt(
        plant,
        "revocation",
        lambda: perform(plant.store, admin("u0"), RevokeInvitation(invitation_id=invitation_id), now=NOW),
        answers,
    )

    def laws() -> None:
        found = [m for m in map(membership_of, members_of(plant)) if m and m.user_id.startswith("n")]
        law(len(found) <= 1, f"one invitation gave {len(found)} memberships")
        item = next(iter(plant.store.scan(Table.RECORDS, kind="invitation")))
        law((item["status"] == "accepted") == bool(found), f"the invitation is {item['status']}, members are {found}")

    return laws


def one_address_twice(plant: Plant) -> Callable[[], None]:
    """Two Admins invite the same person."""
    answers: Counter[str] = Counter()
    for user_id in ("u0", "u1"):
        attempt(
            plant,
            f"{user_id} invites",
            lambda user_id=user_id: issue(
                plant.store, admin(user_id), Invite(email=INVITED, role=Role.VIEWER), now=NOW
            ),
            answers,
        )

    def laws() -> None:
        pending = [i for i in plant.store.scan(Table.RECORDS, kind="invitation") if i["status"] == "pending"]
        law(len(pending) == 1, f"{len(pending)} invitations of one address are pending")

    return laws


def sent_again_beside_acceptance(plant: Plant) -> Callable[[], None]:
    """The invited person accepts with the first token while the invitation is sent again."""
    first = issue(plant.store, DOOR, Invite(email=INVITED, role=Role.VIEWER), now=NOW)
    answers: Counter[str] = Counter()
    invitation_id = first.of.id
    again: list[str] = []

    def send() -> None:
        again.append(issue(plant.store, admin("u0"), ResendInvitation(invitation_id=invitation_id), now=NOW).token)

    attempt(plant, "u0 sends again", send, answers)
    accepts = lambda token: members.accept_invitation(plant.store, token, user_id="n1", email=INVITED, now=NOW)  # noqa: E731
    attempt(plant, "n1 accepts", lambda: accepts(first.token), answers)

    def laws() -> None:
        found = [m for m in map(membership_of, members_of(plant)) if m and m.user_id == "n1"]
        item = next(iter(plant.store.scan(Table.RECORDS, kind="invitation")))
        law((item["status"] == "accepted") == bool(found), f"the invitation is {item['status']}, members are {found}")
        law(bool(answers["n1 accepts"]) == bool(found), f"answers {answers}, members {found}")
        if not found:  # it was sent again: the newest token works, the first does not, and a second Admin cannot invite
            _refuses(lambda: accepts(first.token), "the old token still works")
            again_for_one = Invite(email=INVITED, role=Role.VIEWER)
            _refuses(lambda: issue(plant.store, admin("u1"), again_for_one, now=NOW), "one address has two invitations")
            accepts(again[-1])

    return laws


def _refuses(work: Callable[[], Any], text: str) -> None:
    try:
        work()
    except Refused:
        return
    law(False, text)


def inviter_demoted(plant: Plant) -> Callable[[], None]:
    """Who invited loses his rights at the moment of the acceptance: whichever is first decides."""
    invited = issue(plant.store, admin("u0"), Invite(email=INVITED, role=Role.MANAGER), now=NOW)
    answers: Counter[str] = Counter()
    accept = lambda: members.accept_invitation(plant.store, invited.token, user_id="n1", email=INVITED, now=NOW)  # noqa: E731
    attempt(plant, "n1 accepts", accept, answers)
    demotion = ChangeRole(user_id="u0", role=Role.VIEWER)
    attempt(plant, "u1 demotes u0", lambda: perform(plant.store, admin("u1"), demotion, now=NOW), answers)

    def laws() -> None:
        order = [change.key[1] for change in plant.tables.stream[plant.steps.began :]]
        joined, demoted = (order.index(sk) if sk in order else len(order) for sk in ("MEMBER#n1", "MEMBER#u0"))
        law(
            joined == len(order) or joined < demoted,
            "a member joined by an invitation whose inviter had no right to it any more",
        )

    return laws


def sent_again_beside_another(plant: Plant) -> Callable[[], None]:
    """An event reports a second invitation of one address while an Admin sends the first again: after the event he is
    refused."""
    first = issue(plant.store, DOOR, Invite(email=INVITED, role=Role.VIEWER), now=NOW).of.id
    data = {"invitation_id": "other", "email": INVITED, "role": "Viewer", "token_hash": "0" * 64}
    operated(plant, "consumer", [said("invitation.created.v1", data, id_="o1", subject="a")])
    answers: Counter[str] = Counter()
    deed = ResendInvitation(invitation_id=first)
    attempt(plant, "u0 sends again", lambda: issue(plant.store, admin("u0"), deed, now=NOW), answers)

    def laws() -> None:
        order = [change.key for change in plant.tables.stream[plant.steps.began :]]
        other, again = keys.invitation("a", "other"), keys.invitation("a", first)
        law(other in order, "the second invitation is lost")
        late = again in order and order.index(again) > order.index(other)
        law(not late, "one of two pending invitations of an address was sent again")

    return laws


SCOPES = (
    Scope("two accept one invitation", an_invitation_for_one, two_admins, faults=1),
    Scope("one address is invited twice", one_address_twice, two_admins),
    Scope("an invitation is sent again beside its acceptance", sent_again_beside_acceptance, two_admins),
    Scope("an invitation beside its inviter's demotion", inviter_demoted, two_admins),
    Scope("an invitation is sent again beside another of its address", sent_again_beside_another, two_admins),
)
