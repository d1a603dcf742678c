"""Scopes of notices: each person is notified once, and only while the notice concerns him."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from functools import partial

from tests.support.simulation.kernel.scope import NOW, Plant, Scope
from tests.support.simulation.scopes.events import envelope, said
from tests.support.simulation.scopes.people.members import DOOR, admin, two_admins
from tests.support.simulation.scopes.usage.counting import law

from nilometer import Channel, Notify, RemoveMember, SetPreference, perform
from nilometer.domain.events.outcome import Message, Outcome, Result
from nilometer.domain.store.times import rfc3339
from nilometer.domain.store.writes import Table
from nilometer.errors import Unavailable
from nilometer.flows.notices import batch as notices


def _promotion(at: datetime = NOW - timedelta(hours=1), version: int = 2) -> str:
    """The role of u2 has changed, of which he is notified."""
    row = {
        "kind": "membership",
        "pk": "WORKSPACE#a",
        "sk": "MEMBER#u2",
        "workspace_id": "a",
        "actor": "u0",
        "cause": None,
        "occurred_at": rfc3339(at),
        "old_image": {"status": "active", "role": "Analyst", "user_id": "u2", "version": 1},
        "new_image": {"status": "active", "role": "Admin", "user_id": "u2", "version": version},
    }
    return envelope(said("record.changed.v1", row, id_="c1", subject=None), source="nilometer.changes")


def a_notice_once(plant: Plant) -> Callable[[], None]:
    """A change of which people are notified comes twice, in two batches."""
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
    """Who has left is not notified of what comes after."""

    def work() -> None:
        with contextlib.suppress(Unavailable):
            perform(plant.store, admin("u1"), RemoveMember(user_id="u2"), now=NOW)
            _heard(plant, [Message("c1", _promotion())])

    plant.world.spawn("u2 leaves, then a notice", work)
    return lambda: law(not _told(plant), "somebody who had left was told")


def _heard(plant: Plant, messages: Sequence[Message]) -> list[Result]:
    return notices.handle(messages, store=plant.store, objects=plant.objects, now=plant.world.now)


def a_notice_after_muting(plant: Plant) -> Callable[[], None]:
    """Who has switched a topic off is not notified of what comes after."""

    def work() -> None:
        with contextlib.suppress(Unavailable):
            perform(plant.store, admin("u2"), SetPreference(topic="*", channels=dict.fromkeys(Channel, False)), now=NOW)
            _heard(plant, [Message("c1", _promotion())])

    plant.world.spawn("u2 mutes, then a notice", work)
    return lambda: law(not _told(plant), "somebody who had switched it off was told")


def _told(plant: Plant) -> set[str]:
    return {item["user_id"] for item in plant.store.scan(Table.RECORDS, kind="notification")}


def notices_of_other_times(plant: Plant) -> Callable[[], None]:
    """One comes after its notification would have expired, one was made by a clock that is hours ahead."""
    for name, at, version in (("late", NOW - timedelta(days=100), 2), ("ahead", NOW + timedelta(hours=3), 3)):
        plant.deliver(name, [Message(name, _promotion(at, version))], partial(_heard, plant), queue="Operations")

    def laws() -> None:
        law(not _told(plant), f"{_told(plant)} were told of what is over, or has not happened")
        rejects = [item["reason"] for item in plant.store.scan(Table.EVENTS, kind="reject")]
        law(rejects == ["invalid_time"], f"rejects {rejects}")

    return laws


def asked_for_twice(plant: Plant) -> Callable[[], None]:
    """Two services ask for one notification under one name: both get an answer, and one is the first."""
    told: list[bool] = []
    deed = Notify(user_id="u2", topic="exports.ready", title="Done", once="export 1")
    for name in ("one", "two"):
        work = lambda: told.append(perform(plant.store, DOOR, deed, now=NOW).told)  # noqa: E731  # short
        plant.repeat(name, work, until=Unavailable, surely=True)

    def laws() -> None:
        law(sum(told) <= 1, "two were told that they notified him")
        [unread] = [item["unread"] for item in plant.store.scan(Table.RECORDS, kind="unread")]
        law(unread == len(list(plant.store.scan(Table.RECORDS, kind="notification"))) == 1, f"{unread} are unread")

    return laws


SCOPES = (
    Scope("a notice after leaving", a_notice_after_leaving, two_admins),
    Scope("a notice for one person, twice", a_notice_once, two_admins),
    Scope("a notice after it was switched off", a_notice_after_muting, two_admins),
    Scope("notices of other times", notices_of_other_times, two_admins),
    Scope("one notification is asked for twice", asked_for_twice, two_admins),
)
