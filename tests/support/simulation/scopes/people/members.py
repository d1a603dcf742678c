"""Scopes of people: the last Admin stays, a token works once, an operation counts once."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

from tests.support.simulation.kernel.scope import NOW, Plant, Scope
from tests.support.simulation.scopes.events import envelope, said
from tests.support.simulation.scopes.usage.counting import EARLY, law

from nilometer import (
    AddMember,
    ChangeRole,
    CreateWorkspace,
    Invite,
    IssueToken,
    RemoveMember,
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
from nilometer.flows.operations import batch as operations
from nilometer.flows.people import access

DOOR = service("a", "services")


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


def members_of(plant: Plant) -> Any:
    return plant.store.query(Table.RECORDS, keys.workspace("a").pk, prefix="MEMBER#", consistent=True)


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
        roles = {m.user_id: m.role for m in map(membership_of, members_of(plant)) if m}
        law(roles["n1"] is Role.ADMIN, f"roles are {roles}")
        law((roles["u1"] is Role.VIEWER) is not ("n2" in roles), f"one id did two things: {roles}")

    return laws


def came_after(plant: Plant, kind: str, user_id: str) -> bool:
    """Whether a record of `kind` was written after the member had changed."""
    changes = plant.tables.stream[plant.steps.began :]
    moved = next((n for n, one in enumerate(changes) if one.key[1] == f"MEMBER#{user_id}"), len(changes))
    return any(one.new and one.new["kind"]["S"] == kind for one in changes[moved + 1 :])


def a_manager_too(plant: Plant) -> None:
    two_admins(plant)
    perform(plant.store, DOOR, AddMember(user_id="u3", role=Role.MANAGER), now=EARLY)


def a_deed_of_one_who_is_demoted(plant: Plant) -> Callable[[], None]:
    """A Manager invites while he is demoted: what he may no longer do is not written."""
    answers: Counter[str] = Counter()
    manager = Caller(workspace_id="a", user_id="u3", role=Role.MANAGER)
    invite = Invite(email="x@example.com", role=Role.VIEWER)
    attempt(plant, "u3 invites", lambda: issue(plant.store, manager, invite, now=NOW), answers)
    demotion = ChangeRole(user_id="u3", role=Role.VIEWER)
    attempt(plant, "u0 demotes u3", lambda: perform(plant.store, admin("u0"), demotion, now=NOW), answers)
    return lambda: law(not came_after(plant, "invitation", "u3"), "one who was no Manager any more invited")


def added_again(plant: Plant) -> Callable[[], None]:
    """A service removes a member and adds him again with its next request, which finds him removed."""

    def work() -> None:
        with contextlib.suppress(Refused):  # he was removed before
            perform(plant.store, DOOR, RemoveMember(user_id="u2"), now=NOW)
        perform(plant.store, DOOR, AddMember(user_id="u2", role=Role.ANALYST), now=NOW)

    plant.repeat("service", work, until=Unavailable, surely=True)

    def laws() -> None:
        roles = {m.user_id: m.role for m in map(membership_of, members_of(plant)) if m}
        law(roles.get("u2") is Role.ANALYST, f"he was added last, and the roles are {roles}")

    return laws


def a_token_at_once(plant: Plant) -> Callable[[], None]:
    """The person to whom a token is handed uses it at once."""
    asked = IssueToken(user_id="u2", purpose=TokenPurpose.PASSWORD_RESET)

    def work() -> None:
        secret = issue(plant.store, DOOR, asked, now=NOW).token
        try:
            access.use_token(plant.store, secret, purpose=TokenPurpose.PASSWORD_RESET, now=NOW)
        except Refused:
            law(False, "a token that was never used was refused")

    plant.repeat("holder", work, until=Unavailable, surely=True)
    return lambda: None


SCOPES = (
    Scope("two Admins demote each other", demote_each_other, two_admins),
    Scope("an Admin leaves beside a demotion", leave_and_demote, two_admins),
    Scope("three hold one token", a_token_twice, two_admins),
    Scope("operations about people, twice", operations_twice, two_admins),
    Scope("operations about people, one under a used id", partial(operations_twice, reuses=True), two_admins, faults=1),
    Scope("a deed of one who is demoted", a_deed_of_one_who_is_demoted, a_manager_too),
    Scope("a member is removed and added again", added_again, two_admins),
    Scope("a token is used at once", a_token_at_once, two_admins),
)
