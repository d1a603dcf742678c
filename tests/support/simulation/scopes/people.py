"""Scopes of people: the last Admin stays, a token works once, an invitation and a slug have one holder."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from tests.support.simulation.kernel.scope import NOW, Plant, Scope
from tests.support.simulation.scopes.events import envelope, said
from tests.support.simulation.scopes.usage import EARLY, law

from nilometer import (
    AddMember,
    ChangeRole,
    CreateWorkspace,
    Invite,
    IssueToken,
    RemoveMember,
    RevokeInvitation,
    issue,
    perform,
)
from nilometer.domain.access.token import TokenPurpose
from nilometer.domain.acts.act import Caller, service
from nilometer.domain.acts.roles import Role
from nilometer.domain.events.outcome import Message
from nilometer.domain.people.membership import membership_of
from nilometer.domain.store import keys
from nilometer.domain.store.writes import Table
from nilometer.errors import Refused, Rejected, Unavailable
from nilometer.flows.notices import batch as notices
from nilometer.flows.operations import batch as operations
from nilometer.flows.people import access, members

DOOR = service("a", "services")
INVITED = "x@example.com"


def two_admins(plant: Plant) -> None:
    """Workspace `a` with the Admins u0 and u1 and the Analyst u2."""
    perform(plant.store, DOOR, CreateWorkspace(name="A", slug="a", admin="u0"), now=EARLY)
    perform(plant.store, DOOR, AddMember(user_id="u1", role=Role.ADMIN), now=EARLY)
    perform(plant.store, DOOR, AddMember(user_id="u2", role=Role.ANALYST), now=EARLY)


def admin(user_id: str) -> Caller:
    return Caller(workspace_id="a", user_id=user_id, role=Role.ADMIN)


def attempt(plant: Plant, name: str, work: Callable[[], Any], answers: Counter[str]) -> None:
    """A person who tries again until he has an answer; `answers` counts what was granted, by name."""

    def body() -> None:
        try:
            work()
            answers[name] += 1
        except (Refused, Rejected):
            answers[f"{name} refused"] += 1

    plant.repeat(name, body, until=Unavailable)


def admins_hold(plant: Plant) -> None:
    """At every step: the workspace counts its Admins rightly, and there is one."""
    items = plant.tables.items[Table.RECORDS]
    counted = int(items[keys.workspace("a")].values["admins"]["N"])
    members_ = (item.values for key, item in items.items() if key[1].startswith("MEMBER#"))
    found = sum(one.get("role", {}).get("S") == "Admin" and one["status"]["S"] == "active" for one in members_)
    law(found == counted >= 1, f"{found} Admins, counted are {counted}")


def demote_each_other(plant: Plant) -> Callable[[], None]:
    answers: Counter[str] = Counter()
    for one, other in (("u0", "u1"), ("u1", "u0")):
        attempt(
            plant,
            f"{one} demotes {other}",
            lambda one=one, other=other: perform(
                plant.store, admin(one), ChangeRole(user_id=other, role=Role.VIEWER), now=NOW
            ),
            answers,
        )
    plant.world.invariant = lambda: admins_hold(plant)
    return lambda: admins_hold(plant)


def leave_and_demote(plant: Plant) -> Callable[[], None]:
    answers: Counter[str] = Counter()
    attempt(plant, "u0 leaves", lambda: perform(plant.store, admin("u0"), RemoveMember(user_id="u0"), now=NOW), answers)
    attempt(
        plant,
        "u0 demotes u1",
        lambda: perform(plant.store, admin("u0"), ChangeRole(user_id="u1", role=Role.VIEWER), now=NOW),
        answers,
    )
    plant.world.invariant = lambda: admins_hold(plant)
    return lambda: admins_hold(plant)


def a_token_twice(plant: Plant) -> Callable[[], None]:
    secret = issue(plant.store, DOOR, IssueToken(user_id="u2", purpose=TokenPurpose.PASSWORD_RESET), now=NOW).token
    used: list[int] = []
    for number in (1, 2, 3):
        plant.world.spawn(f"holder {number}", lambda: _uses(plant, secret), lambda ok: used.append(1) if ok else None)

    def laws() -> None:
        law(len(used) <= 1, f"a token was used {len(used)} times")

    return laws


def _uses(plant: Plant, secret: str) -> bool:
    try:
        access.use_token(plant.store, secret, purpose=TokenPurpose.PASSWORD_RESET, now=NOW)
    except (Refused, Unavailable):
        return False
    return True


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
        found = [m for m in map(membership_of, _members(plant)) if m and m.user_id.startswith("n")]
        law(len(found) <= 1, f"one invitation gave {len(found)} memberships")
        item = next(iter(plant.store.scan(Table.RECORDS, kind="invitation")))
        law((item["status"] == "accepted") == bool(found), f"the invitation is {item['status']}, members are {found}")

    return laws


def _members(plant: Plant) -> Any:
    return plant.store.query(Table.RECORDS, keys.workspace("a").pk, prefix="MEMBER#", consistent=True)


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


def a_slug_for_one(plant: Plant) -> Callable[[], None]:
    answers: Counter[str] = Counter()
    for name in ("w1", "w2"):
        attempt(
            plant,
            f"{name} opens",
            lambda name=name: perform(
                plant.store, service(name, "s"), CreateWorkspace(name="W", slug="taken", admin="z"), now=NOW
            ),
            answers,
        )

    def laws() -> None:
        owners = [
            item["pk"] for item in plant.store.scan(Table.RECORDS, kind="workspace") if item.get("slug") == "taken"
        ]
        law(len(owners) == 1, f"{len(owners)} workspaces have one slug")
        law(min(answers["w1 opens"], answers["w2 opens"]) == 0, f"both were told that they have it: {answers}")

    return laws


def operated(plant: Plant, name: str, events: list[dict[str, Any]]) -> None:
    messages = [Message(f"{name}{n}", envelope(one)) for n, one in enumerate(events)]
    plant.deliver(
        name,
        messages,
        lambda batch: operations.handle(batch, store=plant.store, objects=plant.objects, now=plant.world.now),
        queue="Operations",
    )


def operations_twice(plant: Plant) -> Callable[[], None]:
    """Operations events about people come in two batches, one event in both."""
    added = said("member.added.v1", {"user_id": "n1", "role": "Admin"}, id_="o1", subject="a")
    demoted = said("member.role_changed.v1", {"user_id": "u1", "role": "Viewer"}, id_="o2", subject="a")
    operated(plant, "consumer 1", [added, demoted])
    operated(plant, "consumer 2", [added])
    plant.world.invariant = lambda: admins_hold(plant)

    def laws() -> None:
        facts = [item["event_id"] for item in plant.store.scan(Table.EVENTS, kind="operation")]
        law(sorted(facts) == ["o1", "o2"], f"facts {facts}")
        roles = {m.user_id: m.role for m in map(membership_of, _members(plant)) if m}
        law(roles["n1"] is Role.ADMIN and roles["u1"] is Role.VIEWER, f"roles are {roles}")

    return laws


def a_notice_once(plant: Plant) -> Callable[[], None]:
    """A change that people hear of comes twice, in two batches."""
    row = {
        "kind": "membership",
        "pk": "WORKSPACE#a",
        "sk": "MEMBER#u2",
        "workspace_id": "a",
        "actor": "u0",
        "cause": None,
        "occurred_at": "2026-11-23T11:00:00.000Z",
        "old_image": {"status": "active", "role": "Analyst", "user_id": "u2", "version": 1},
        "new_image": {"status": "active", "role": "Admin", "user_id": "u2", "version": 2},
    }
    body = envelope(said("record.changed.v1", row, id_="c1", subject=None), source="nilometer.changes")
    for number in (1, 2):
        plant.deliver(
            f"consumer {number}",
            [Message(f"c{number}", body)],
            lambda batch: notices.handle(batch, store=plant.store, objects=plant.objects, now=plant.world.now),
            queue="Operations",
        )

    def laws() -> None:
        told = Counter(item["pk"] for item in plant.store.scan(Table.RECORDS, kind="notification"))
        law(bool(told), "nobody was told")
        law(set(told.values()) == {1}, f"somebody was told twice: {told}")
        unread = sum(item["unread"] for item in plant.store.scan(Table.RECORDS, kind="unread"))
        law(unread == len(told), f"{unread} are unread, {len(told)} were told")

    return laws


SCOPES = (
    Scope("two Admins demote each other", demote_each_other, two_admins),
    Scope("an Admin leaves beside a demotion", leave_and_demote, two_admins),
    Scope("three hold one token", a_token_twice, two_admins),
    Scope("two accept one invitation", an_invitation_for_one, two_admins, faults=1),
    Scope("one slug is taken twice", a_slug_for_one, two_admins),
    Scope("operations about people, twice", operations_twice, two_admins),
    Scope("a notice for one person, twice", a_notice_once, two_admins),
)
