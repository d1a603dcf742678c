"""Notices that the system itself causes: to the right people, once, as they prefer."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from tests.support.faulty import FaultyStore, Killed, dies_at
from tests.support.flows.operations import NOW, envelope
from tests.support.people import RACERS, member, race, won, workspace

from nilometer import AddMember, ChangeRole, Invite, SetPreference, issue, perform
from nilometer.aws.dynamodb import Store
from nilometer.domain.acts.act import service
from nilometer.domain.acts.roles import Role
from nilometer.domain.events.outcome import Message, Outcome
from nilometer.domain.lake.change import Change, ItemAction, audit_row
from nilometer.domain.limits.limit import Limit, alert
from nilometer.domain.notices import preference
from nilometer.domain.notices.notice import KINDS
from nilometer.domain.store import keys
from nilometer.domain.store.times import epoch, rfc3339
from nilometer.domain.store.writes import Item, Key, Table
from nilometer.flows.inbox.rejects import listed
from nilometer.flows.notices import batch as notices
from nilometer.flows.notices import notifications
from nilometer.flows.people import members as people

_numbers = itertools.count(1)


def changed(old: Item | None, new: Item | None, *, at: int = 0) -> str:
    """The change as the bus brings it: through the real redaction."""
    item = new or old or {}
    number = str(next(_numbers))
    row = audit_row(
        Change(
            change_id=number,
            action=ItemAction.MODIFY if old and new else ItemAction.INSERT if new else ItemAction.REMOVE,
            key=Key(item["pk"], item["sk"]),
            old=old,
            new=new,
            sequence_number=number,
            occurred_at=epoch(NOW) + at,
            table=Table.RECORDS,
        )
    )
    detail = {
        "specversion": "1.0",
        "id": number,
        "source": "nilometer.changes",
        "type": "record.changed.v1",
        "time": rfc3339(NOW),
        "data": json.loads(json.dumps(row, default=float)),
    }
    return envelope(detail, source="nilometer.changes")


def handle(store: Any, objects: Any, *bodies: str) -> list[Outcome]:
    messages = [Message(str(n), body) for n, body in enumerate(bodies)]
    assert all(map(notices.is_change, messages))
    return [result.outcome for result in notices.handle(messages, store=store, objects=objects, now=NOW)]


def told(store: Store, *users: str) -> dict[str, list[str]]:
    """Topics by person, and the count must agree."""
    door = service("ws", "test")
    shown = {user: notifications.shown(store, door, now=NOW, user_id=user) for user in users}
    assert {user: notifications.unread(store, door, now=NOW, user_id=user).total for user in users} == {
        user: len(items) for user, items in shown.items()
    }
    return {user: [item["topic"] for item in items] for user, items in shown.items()}


def dunning(invoice: str = "in_1", attempts: int = 1, **given: Any) -> dict[str, Any]:
    return {"invoice": invoice, "attempts": attempts, "next_attempt": 1, "since": 1, "stage": "retrying", **given}


def billing(**given: Any) -> Item:
    key = keys.billing("ws")
    return {"pk": key.pk, "sk": key.sk, "kind": "billing", "version": 1, "workspace_id": "ws", "dunning": None, **given}


def threshold(number: str = "80", meter: str = "tokens") -> Item:
    period = ("2026-11-01T00:00:00.000Z", "2026-12-01T00:00:00.000Z")
    return alert(
        "ws",
        meter,
        number,
        Limit(included=Decimal(100), soft=None, hard=None, version="v1"),
        used=Decimal(81),
        period=period,
        now=NOW,
    ).item


@pytest.fixture
def team(store: Store) -> Store:
    """One of each role."""
    workspace(store, max=Role.MANAGER, ann=Role.ANALYST, vic=Role.VIEWER)
    return store


TEAM = ("ada", "max", "ann", "vic")


def test_a_conflict_is_told_to_admins_once(team: Store, objects: Any) -> None:
    """When a buyer's claim begins to wait, not again while it waits or when another change of the record comes."""
    claims = [
        {"customer": f"self/live/cus_{name}", "claimed_by": "client_reference_id", "object": f"cs_{name}", "created": 1}
        for name in ("mallory", "eve")
    ]
    calm, first, both = billing(), billing(version=2, conflicts=claims[:1]), billing(version=3, conflicts=claims)
    began, stays = changed(calm, first), changed(first, first | {"version": 3, "plan": "team"})

    assert handle(team, objects, began, began, stays) == [Outcome.ACCEPTED, Outcome.DUPLICATE, Outcome.IGNORED]
    assert told(team, *TEAM) == {"ada": ["billing.conflict"], "max": [], "ann": [], "vic": []}
    assert handle(team, objects, changed(first, both), changed(both, calm)) == [Outcome.ACCEPTED, Outcome.IGNORED]
    assert told(team, "ada") == {"ada": ["billing.conflict"] * 2}


def test_what_a_restore_copied_is_told_to_nobody(team: Store, objects: Any) -> None:
    """An alert of long ago, whose fact has expired: who was told then is not told, nor mailed, again."""
    copied = changed(None, threshold(), at=3_600)
    assert handle(
        team, objects, copied, changed(None, billing(dunning=dunning(), updated_at=rfc3339(NOW)), at=3_600)
    ) == [
        Outcome.IGNORED,
        Outcome.IGNORED,
    ]
    assert not any(told(team, *TEAM).values())


def test_a_threshold_is_told_to_who_can_act(team: Store, objects: Any) -> None:
    """Admins and Managers, once an alert, however often its change comes."""
    change = changed(None, threshold())

    assert handle(team, objects, change, change) == [Outcome.ACCEPTED, Outcome.DUPLICATE]
    assert told(team, *TEAM) == {
        "ada": ["usage.threshold_reached"],
        "max": ["usage.threshold_reached"],
        "ann": [],
        "vic": [],
    }
    assert handle(team, objects, changed(None, threshold("100"))) == [Outcome.ACCEPTED]
    shown = notifications.shown(team, member("ada", Role.ADMIN), now=NOW)
    assert {item["title"] for item in shown} == {f"tokens has reached {n} % of its limit" for n in (80, 100)}


def test_a_failed_payment_is_told_once_an_attempt(team: Store, objects: Any) -> None:
    """To Admins; a record that swings back and forth between two states tells nothing twice."""
    fine, first, second = billing(), billing(dunning=dunning()), billing(dunning=dunning(attempts=2))
    bodies = [
        changed(fine, first),
        changed(first, {**first, "plan": "pro"}, at=1),
        changed(first, fine, at=2),
        changed(fine, first, at=3),
        changed(first, second, at=4),
    ]

    assert handle(team, objects, *bodies) == [
        Outcome.ACCEPTED,
        Outcome.IGNORED,
        Outcome.IGNORED,
        Outcome.DUPLICATE,
        Outcome.ACCEPTED,
    ]
    assert told(team, *TEAM) == {"ada": ["billing.payment_failed"] * 2, "max": [], "ann": [], "vic": []}


def test_a_changed_role_is_told_to_its_member(team: Store, objects: Any) -> None:
    """Not the first role, not what he did himself, not to others."""
    key = keys.member("ws", "ann")
    before = team.get(Table.RECORDS, key) or {}
    perform(team, member("ada", Role.ADMIN), ChangeRole(user_id="ann", role=Role.MANAGER), now=NOW)
    after = team.get(Table.RECORDS, key) or {}

    assert (
        handle(team, objects, changed(None, before), changed(before, {**after, "actor": "ann"}))
        == [Outcome.IGNORED] * 2
    )
    assert handle(team, objects, changed(before, after), changed(before, after)) == [
        Outcome.ACCEPTED,
        Outcome.DUPLICATE,
    ]
    assert told(team, *TEAM) == {"ada": [], "max": [], "ann": ["member.role_changed"], "vic": []}


def test_an_accepted_invitation_is_told_to_who_invited(team: Store, objects: Any) -> None:
    """And nothing of the address."""
    issued = issue(team, member("max", Role.MANAGER), Invite(email="new@example.com", role=Role.VIEWER), now=NOW)
    key = next(Key(i["pk"], i["sk"]) for i in team.query(Table.RECORDS, "WORKSPACE#ws", prefix="INVITATION#"))
    before = team.get(Table.RECORDS, key) or {}
    people.accept_invitation(team, issued.token, user_id="new", email="new@example.com", now=NOW)
    after = team.get(Table.RECORDS, key) or {}

    assert handle(team, objects, changed(None, before), changed(before, after)) == [Outcome.IGNORED, Outcome.ACCEPTED]
    assert told(team, "max", "new") == {"max": ["member.invitation_accepted"], "new": []}
    assert "example.com" not in str(list(team.query(Table.RECORDS, keys.user("max"))))


def test_preferences_are_respected(team: Store, objects: Any) -> None:
    """Who wants no notice gets none, also not when the change comes again after he changed his mind."""
    max_ = member("max", Role.MANAGER)
    quiet: Mapping[str, bool | None] = {"in_app": False, "email": False}
    perform(team, max_, SetPreference(topic="usage.threshold_reached", channels=quiet), now=NOW)
    handle(team, objects, changed(None, threshold()))
    perform(team, max_, SetPreference(topic="usage.threshold_reached", channels={"in_app": True}), now=NOW)

    assert handle(team, objects, changed(None, threshold())) == [Outcome.DUPLICATE]
    assert told(team, "ada", "max") == {"ada": ["usage.threshold_reached"], "max": []}


def test_what_comes_after_a_newcomer_is_told_to_him_too(team: Store, objects: Any) -> None:
    """The audience is that of the moment; nobody else is notified by a copy."""
    handle(team, objects, changed(None, threshold()))
    perform(team, service("ws", "test"), AddMember(user_id="nia", role=Role.ADMIN), now=NOW)
    handle(team, objects, changed(None, threshold()))

    assert told(team, "ada", "nia") == {"ada": ["usage.threshold_reached"], "nia": ["usage.threshold_reached"]}


def test_eight_copies_at_once_tell_it_once(team: Store, objects: Any) -> None:
    """To each."""
    body = changed(None, threshold())
    answers = [outcome for [outcome] in won(race([lambda: handle(team, objects, body)] * RACERS))]

    assert set(answers) == {Outcome.ACCEPTED, Outcome.DUPLICATE}
    assert told(team, "ada", "max") == {"ada": ["usage.threshold_reached"], "max": ["usage.threshold_reached"]}


def test_a_large_team_is_told_in_parts(store: Store, objects: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever the process dies, the message comes again and each notification is written once."""
    monkeypatch.setattr(notices, "TOGETHER", 2)
    crowd = [f"m{n}" for n in range(5)]
    workspace(store, **dict.fromkeys(crowd, Role.MANAGER))
    for call, landed in itertools.product(range(1, 11), (False, True)):
        body = changed(None, threshold(meter=f"meter_{call}_{landed}".lower()))
        with pytest.raises(Killed):
            handle(FaultyStore(store, dies_at(call, landed=landed)), objects, body)
        handle(store, objects, body)

    assert {user: len(topics) for user, topics in told(store, "ada", *crowd).items()} == dict.fromkeys(
        ["ada", *crowd], 20
    )


def test_images_that_were_too_large_for_the_bus_are_fetched(team: Store, objects: Any) -> None:
    """They rest in S3 by their hash."""
    body = json.loads(changed(None, threshold()))
    data = body["detail"]["data"]
    images = {name: data.pop(name) for name in ("old_image", "new_image")}
    data |= {"old_image": None, "new_image": None, "images_ref": objects.put("payloads", json.dumps(images).encode())}

    assert handle(team, objects, json.dumps(body)) == [Outcome.ACCEPTED]


def test_what_cannot_be_read_is_kept_and_stops_nobody(team: Store, objects: Any) -> None:
    """A change that no relay of ours wrote would come again for ever; as a reject it is kept and can be sent again."""
    broken = json.loads(changed(None, threshold()))
    del broken["detail"]["data"]["pk"]

    assert handle(team, objects, json.dumps(broken), changed(None, threshold())) == [Outcome.REJECTED, Outcome.ACCEPTED]
    assert [kept["reason"] for kept in listed(team, "notices", since=NOW, now=NOW)] == ["invalid_schema"]


def test_other_changes_are_ignored(team: Store, objects: Any) -> None:
    """Of other kinds, removals, and records of no workspace or of one that has no people yet."""
    unlinked = {**billing(dunning=dunning()), "workspace_id": None}
    other = {"pk": "WORKSPACE#ws", "sk": "WORKSPACE", "kind": "workspace", "version": 1, "workspace_id": "ws"}
    empty = {**billing(dunning=dunning()), "workspace_id": "nobody"}
    changes = [changed(threshold(), None), *(changed(None, one) for one in (unlinked, other, empty))]

    assert handle(team, objects, *changes) == [Outcome.IGNORED] * 4


def test_the_rule_brings_the_kinds_that_are_read(project: Path) -> None:
    """And no other: most changes concern nobody."""
    assert f"kind: [{', '.join(KINDS)}]" in (project / "template.yaml").read_text()


def test_every_topic_has_a_default(team: Store, objects: Any) -> None:
    """That somebody thought about."""
    handle(team, objects, changed(None, threshold()), changed(None, billing(dunning=dunning())))

    assert set(told(team, "ada")["ada"]) <= set(preference.DEFAULTS)


def test_what_services_say_is_no_change() -> None:
    """A service cannot pose as the relay: the bus takes its name from the sender's permission."""
    said = envelope({"type": "record.changed.v1", "data": {}}, source="services.console")

    assert not notices.is_change(Message("1", said))
    assert not notices.is_change(Message("2", "nonsense"))
    assert timedelta(days=35) < notices.KEPT
