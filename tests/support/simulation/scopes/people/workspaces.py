"""Scopes of workspaces: a slug has one holder, and a deletion is logged once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import timedelta

from tests.support.simulation.kernel.scope import NOW, Plant, Scope
from tests.support.simulation.scopes.people.members import attempt, two_admins
from tests.support.simulation.scopes.usage.counting import EARLY, law

from nilometer import (
    CreateWorkspace,
    UpdateWorkspace,
    perform,
)
from nilometer.domain.acts.act import service
from nilometer.domain.store import keys
from nilometer.domain.store.writes import Table


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


SCOPES = (
    Scope("one slug is taken twice", a_slug_for_one, two_admins),
    Scope("a slug that two want and one leaves", renamed, three_workspaces, faults=1),
    Scope("the slug of a workspace that is gone", a_slug_after_its_workspace, a_deleted_workspace),
    Scope("a workspace is deleted twice", deleted, three_workspaces),
)
