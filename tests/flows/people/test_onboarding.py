"""Tutorials on a real engine: each member's own, in each workspace, until they expire."""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from tests.support.flows.operations import NOW, envelope, handle
from tests.support.people import RACERS, member, race, workspace

from nilometer.aws.dynamodb import Store
from nilometer.domain.acts.act import service
from nilometer.domain.acts.roles import Role
from nilometer.domain.events.outcome import Outcome
from nilometer.domain.people.onboarding import KEPT, AdvanceOnboarding, Mark
from nilometer.domain.store import keys
from nilometer.domain.store.times import epoch
from nilometer.domain.store.writes import Table
from nilometer.errors import Refused, Rejected
from nilometer.flows.people import onboarding
from nilometer.flows.people.acting import perform

BOB = member("bob", Role.VIEWER)


def advance(store: Store, caller: Any = BOB, *, tutorial: str = "start", **given: Any) -> None:
    now = given.pop("now", NOW)
    mark = {"mark": Mark(given.pop("mark"))} if given.get("mark") else {}
    perform(store, caller, AdvanceOnboarding(tutorial=tutorial, **mark, **given), now=now)


def test_each_member_has_his_own_progress_in_each_workspace(store: Store) -> None:
    """Nobody advances for another, and nothing shows elsewhere."""
    ada = workspace(store, bob=Role.VIEWER)
    workspace(store, "other", bob=Role.VIEWER)
    advance(store, step="invite")
    advance(store, step="connect", now=NOW + timedelta(seconds=1))
    advance(store, tutorial="billing", mark="dismissed")

    assert [(one.tutorial, one.steps, one.status) for one in onboarding.progress(store, BOB, now=NOW)] == [
        ("billing", (), "dismissed"),
        ("start", ("invite", "connect"), "active"),
    ]
    assert onboarding.progress(store, ada, now=NOW) == []
    assert onboarding.progress(store, member("bob", Role.VIEWER, "other"), now=NOW) == []


def test_a_stranger_has_none_and_a_service_says_whose(store: Store) -> None:
    """Neither acts for a member without the right to."""
    workspace(store, bob=Role.VIEWER)
    console = service("ws", "console")
    for caller, wrong in ((member("eve", Role.ADMIN), Refused), (console, Rejected)):
        with pytest.raises(wrong):
            advance(store, caller, step="invite")
        with pytest.raises(wrong):
            onboarding.progress(store, caller, now=NOW)
    with pytest.raises(Refused):
        advance(store, member("ada", Role.ADMIN), step="invite", user_id="bob")

    advance(store, console, step="invite", user_id="bob")
    assert onboarding.progress(store, console, now=NOW, user_id="bob")[0].steps == ("invite",)


def test_eight_steps_at_once_are_all_kept(store: Store) -> None:
    """The record is read again when it has moved."""
    workspace(store, bob=Role.VIEWER)
    race([partial(advance, store, step=f"s{n}") for n in range(RACERS)])

    [one] = onboarding.progress(store, BOB, now=NOW)
    assert set(one.steps) == {f"s{n}" for n in range(RACERS)}


def test_a_tutorial_expires_after_its_last_step(store: Store) -> None:
    """Also while TTL has not removed it; then it begins anew."""
    workspace(store, bob=Role.VIEWER)
    advance(store, step="invite")
    record = store.get(Table.RECORDS, keys.onboarding("ws", "bob", "start")) or {}
    assert record["expires_at"] == epoch(NOW + KEPT)

    assert onboarding.progress(store, BOB, now=NOW + KEPT) == []
    advance(store, step="connect", now=NOW + KEPT)
    [one] = onboarding.progress(store, BOB, now=NOW + KEPT)
    assert one.steps == ("connect",)


def event(data: dict[str, Any], *, id_: str, second: int = 0) -> str:
    cloud = {
        "specversion": "1.0",
        "id": id_,
        "source": "/services/console",
        "type": "onboarding.advanced.v1",
        "subject": "ws",
        "time": f"2026-11-23T04:00:{second:02}Z",
        "data": {"user_id": "bob", "tutorial": "start", **data},
    }
    return envelope(cloud)


def test_events_advance_in_any_order(store: Store, objects: Any) -> None:
    """With copies; before the workspace is known they come again."""
    steps = [
        event({"step": "invite"}, id_="1", second=1),
        event({"mark": "restarted"}, id_="2", second=2),
        event({"step": "connect"}, id_="3", second=3),
    ]

    assert handle(store, objects, *steps) == [Outcome.WAITING] * 3
    workspace(store, bob=Role.VIEWER)
    assert handle(store, objects, *reversed(steps)) == [Outcome.ACCEPTED] * 3
    assert handle(store, objects, *steps) == [Outcome.DUPLICATE] * 3
    [one] = onboarding.progress(store, BOB, now=NOW)
    assert one.steps == ("connect",)


@pytest.mark.parametrize("data", [{}, {"step": "No Slug"}, {"step": "a", "mark": "completed"}, {"user_id": "b@x.y"}])
def test_what_is_wrong_for_good_is_rejected(data: dict[str, Any], store: Store, objects: Any) -> None:
    """And kept."""
    assert handle(store, objects, event(data, id_="x")) == [Outcome.REJECTED]
