"""Scopes of people: the last Admin stays, a token works once, an invitation and a slug have one holder."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from functools import partial
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
    ResendInvitation,
    RevokeInvitation,
    UpdateWorkspace,
    issue,
    perform,
)
from nilometer.domain.access.token import TokenPurpose
from nilometer.domain.acts.act import Caller, service
from nilometer.domain.acts.roles import Role
from nilometer.domain.events.outcome import Message, Outcome
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

    plant.repeat(name, body, until=Unavailable, surely=True)


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
        found = [m for m in map(membership_of, _members(plant)) if m and m.user_id == "n1"]
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


def renamed(plant: Plant) -> Callable[[], None]:
    """Two workspaces want one new slug, and a third the slug that one of them leaves."""
    answers: Counter[str] = Counter()
    for name, slug in (("a", "taken"), ("b", "taken"), ("c", "a")):
        deed = UpdateWorkspace(slug=slug)
        attempt(
            plant,
            f"{name} takes {slug}",
            lambda name=name, deed=deed: perform(plant.store, service(name, "s"), deed, now=NOW),
            answers,
        )

    def laws() -> None:
        workspaces = {item["workspace_id"]: item["slug"] for item in plant.store.scan(Table.RECORDS, kind="workspace")}
        holders = {item["slug"]: item["workspace_id"] for item in plant.store.scan(Table.RECORDS, kind="slug")}
        law(len(set(workspaces.values())) == len(workspaces), f"slugs of two: {workspaces}")
        law(holders == {slug: name for name, slug in workspaces.items()}, f"holders {holders}, slugs {workspaces}")

    return laws


def three_workspaces(plant: Plant) -> None:
    """Each with the slug of its name."""
    for name in "abc":
        perform(plant.store, service(name, "s"), CreateWorkspace(name="W", slug=name, admin="z"), now=EARLY)


def a_slug_after_its_workspace(plant: Plant) -> Callable[[], None]:
    """The grace of a deleted workspace is over: two take its slug, one gets it."""
    later = NOW + timedelta(days=60)
    answers: Counter[str] = Counter()
    for name in ("b", "c"):
        deed = UpdateWorkspace(slug="a")
        attempt(
            plant,
            f"{name} takes it",
            lambda name=name, deed=deed: perform(plant.store, service(name, "s"), deed, now=later),
            answers,
        )

    def laws() -> None:
        owners = [i["workspace_id"] for i in plant.store.scan(Table.RECORDS, kind="workspace") if i["slug"] == "a"]
        living = [name for name in owners if name != "a"]
        law(len(living) == 1, f"{living} have one slug")
        law(min(answers["b takes it"], answers["c takes it"]) == 0, f"both were told that they have it: {answers}")
        holder = plant.store.get(Table.RECORDS, keys.slug("a"), consistent=True) or {}
        law(holder["workspace_id"] == living[0], f"the slug names {holder['workspace_id']}, {living} have it")

    return laws


def deleted(plant: Plant) -> Callable[[], None]:
    """A workspace is deleted twice at once, and its log says who did it."""
    answers: Counter[str] = Counter()
    deed = UpdateWorkspace(status="deleted")
    for name in ("one", "two"):
        attempt(plant, name, lambda: perform(plant.store, service("a", "s"), deed, now=NOW), answers)

    def laws() -> None:
        workspace = plant.store.get(Table.RECORDS, keys.workspace("a"), consistent=True) or {}
        law(workspace["status"] == "deleted", f"it is {workspace['status']}")
        log = [
            item["action"] for item in plant.store.scan(Table.RECORDS, kind="security") if item["workspace_id"] == "a"
        ]
        law(log.count("workspace_deleted") == 1, f"the log has {log}")

    return laws


def a_deleted_workspace(plant: Plant) -> None:
    three_workspaces(plant)
    perform(plant.store, service("a", "s"), UpdateWorkspace(status="deleted"), now=NOW)


def operated(plant: Plant, name: str, events: list[dict[str, Any]]) -> None:
    messages = [Message(f"{name}{n}", envelope(one)) for n, one in enumerate(events)]
    plant.deliver(
        name,
        messages,
        lambda batch: operations.handle(batch, store=plant.store, objects=plant.objects, now=plant.world.now),
        queue="Operations",
    )


def operations_twice(plant: Plant, *, reuses: bool = False) -> Callable[[], None]:
    """Operations events about people come in two batches, one event in both."""
    added = said("member.added.v1", {"user_id": "n1", "role": "Admin"}, id_="o1", subject="a")
    demoted = said("member.role_changed.v1", {"user_id": "u1", "role": "Viewer"}, id_="o2", subject="a")
    reused = said("member.added.v1", {"user_id": "n2", "role": "Viewer"}, id_="o2", subject="a")
    operated(plant, "consumer 1", [added, demoted, *([reused] if reuses else [])])
    operated(plant, "consumer 2", [added])
    plant.world.invariant = lambda: admins_hold(plant)

    def laws() -> None:
        facts = [item["event_id"] for item in plant.store.scan(Table.EVENTS, kind="operation")]
        law(sorted(facts) == ["o1", "o2"], f"facts {facts}")
        rejects = [item["reason"] for item in plant.store.scan(Table.EVENTS, kind="reject")]
        law(rejects == ["id_reuse"] * reuses, f"rejects {rejects}")
        roles = {m.user_id: m.role for m in map(membership_of, _members(plant)) if m}
        law(roles["n1"] is Role.ADMIN, f"roles are {roles}")
        law((roles["u1"] is Role.VIEWER) is not ("n2" in roles), f"one id did two things: {roles}")

    return laws


def _promotion() -> str:
    """A change of a role, of which the Admins hear."""
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
    return envelope(said("record.changed.v1", row, id_="c1", subject=None), source="nilometer.changes")


def a_notice_once(plant: Plant) -> Callable[[], None]:
    """A change that people hear of comes twice, in two batches."""
    body = _promotion()
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
        law(plant.outcomes[Outcome.ACCEPTED] <= 1, "two deliveries say that they told it")

    return laws


def a_notice_after_leaving(plant: Plant) -> Callable[[], None]:
    """Who has left hears nothing of what comes after."""
    plant.world.spawn(
        "u1 leaves, then a notice",
        lambda: _leaves_then_hears(plant),
    )
    return lambda: law(
        not [i for i in plant.store.scan(Table.RECORDS, kind="notification") if i["user_id"] == "u1"],
        "somebody who had left was told",
    )


def _leaves_then_hears(plant: Plant) -> None:
    with contextlib.suppress(Unavailable):
        perform(plant.store, admin("u1"), RemoveMember(user_id="u1"), now=NOW)
        message = Message("c1", _promotion())
        notices.handle([message], store=plant.store, objects=plant.objects, now=plant.world.now)


SCOPES = (
    Scope("two Admins demote each other", demote_each_other, two_admins),
    Scope("an Admin leaves beside a demotion", leave_and_demote, two_admins),
    Scope("three hold one token", a_token_twice, two_admins),
    Scope("two accept one invitation", an_invitation_for_one, two_admins, faults=1),
    Scope("one address is invited twice", one_address_twice, two_admins),
    Scope("an invitation is sent again beside its acceptance", sent_again_beside_acceptance, two_admins),
    Scope("an invitation beside its inviter's demotion", inviter_demoted, two_admins),
    Scope("one slug is taken twice", a_slug_for_one, two_admins),
    Scope("a slug that two want and one leaves", renamed, three_workspaces, faults=1),
    Scope("the slug of a workspace that is gone", a_slug_after_its_workspace, a_deleted_workspace),
    Scope("a workspace is deleted twice", deleted, three_workspaces),
    Scope("operations about people, twice", operations_twice, two_admins),
    Scope("operations about people, one under a used id", partial(operations_twice, reuses=True), two_admins, faults=1),
    Scope("a notice after leaving", a_notice_after_leaving, two_admins),
    Scope("a notice for one person, twice", a_notice_once, two_admins),
)
