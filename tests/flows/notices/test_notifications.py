"""The notification center, on a real engine: written once, counted exactly, visible to its person only."""

from __future__ import annotations

import random
from datetime import datetime, timedelta
from functools import partial
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.support.acts import act
from tests.support.flows.operations import NOW, envelope, handle
from tests.support.people import RACERS, member, race, won, workspace

from nilometer import Notify, RemoveMember, SetPreference, perform, service
from nilometer.aws.dynamodb import Store
from nilometer.domain.acts.act import Caller
from nilometer.domain.acts.roles import Role
from nilometer.domain.events.outcome import Outcome
from nilometer.domain.lake.redaction import image
from nilometer.domain.notices.notification import KEPT
from nilometer.domain.notices.preference import Channel
from nilometer.domain.store import keys
from nilometer.domain.store.times import rfc3339
from nilometer.domain.store.writes import Table
from nilometer.errors import Refused, Rejected
from nilometer.flows.notices import notifications

BOB = member("bob", Role.VIEWER)


class Told(NamedTuple):
    """A deed, where and when: as a service performs it."""

    deed: Notify
    workspace: str | None
    at: datetime

    @property
    def id(self) -> str:
        return self.deed.notice(act(service(self.workspace or "", "exports"), now=self.at)).id

    def tell(self, store: Store) -> bool:
        return perform(store, service(self.workspace or "", "exports"), self.deed, now=self.at).told


def notice(cause: str = "c", *, user: str = "bob", workspace: str | None = "ws", at: Any = NOW, **given: Any) -> Told:
    told = {"topic": "exports.ready", "title": f"About {cause}", **given}
    return Told(Notify(user_id=user, once=cause, **told), workspace, at)


def tell(store: Store, *notices: Told) -> list[bool]:
    return [one.tell(store) for one in notices]


def count(store: Store, caller: Caller = BOB) -> int:
    return notifications.unread(store, caller, now=NOW).total


def ids(store: Store, caller: Caller = BOB, **given: Any) -> list[str]:
    return [item["notification_id"] for item in notifications.shown(store, caller, now=NOW, **given)]


def test_a_notice_is_told_once(store: Store) -> None:
    """A repeated cause changes nothing, also when it was read meanwhile."""
    workspace(store, bob=Role.VIEWER)

    assert tell(store, notice(), notice()) == [True, False]
    notifications.mark_read(store, BOB, [notice().id], now=NOW)
    assert tell(store, notice()) == [False]
    assert (count(store), len(ids(store))) == (0, 1)


def test_eight_at_once_tell_it_once(store: Store) -> None:
    """The count goes up by one."""
    workspace(store, bob=Role.VIEWER)
    answers = race([lambda: notice().tell(store)] * RACERS)

    assert sorted(won(answers)) == [False] * (RACERS - 1) + [True]
    assert count(store) == 1


def test_eight_at_once_tell_eight(store: Store) -> None:
    """All of them are counted, though they share a counter."""
    workspace(store, bob=Role.VIEWER)
    race([partial(tell, store, notice(f"c{n}")) for n in range(RACERS)])

    assert count(store) == len(ids(store)) == RACERS


def test_eight_windows_read_the_same(store: Store) -> None:
    """Each notification leaves the count once."""
    workspace(store, bob=Role.VIEWER)
    tell(store, *(notice(f"c{n}") for n in range(5)))
    answers = race([lambda: notifications.mark_all_read(store, BOB, now=NOW)] * RACERS)

    assert sum(won(answers)) == 5
    assert count(store) == 0


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.randoms(use_true_random=False))
def test_the_count_is_exact_after_any_mix_of_threads(store: Store, chance: random.Random) -> None:
    """Telling, copies, reading one and reading all, at once."""
    user = f"u{chance.getrandbits(64)}"
    workspace(store, "mixed", **{user: Role.VIEWER})
    caller = member(user, Role.VIEWER, "mixed")
    all_notices = [notice(f"c{n}", user=user, workspace=chance.choice([None, "mixed"])) for n in range(6)]

    def act(what: int) -> object:
        one = chance.choice(all_notices)
        if what < 6:
            return tell(store, one)
        if what < 9:
            return notifications.mark_read(store, caller, [one.id], now=NOW)
        return notifications.mark_all_read(store, caller, now=NOW)

    race([partial(act, chance.randrange(10)) for _ in range(RACERS)])

    assert count(store, caller) == len(ids(store, caller, unread=True))


def test_the_newest_comes_first(store: Store) -> None:
    """And a page holds no more than was asked for."""
    workspace(store, bob=Role.VIEWER)
    told = [notice(f"c{n}", at=NOW - timedelta(hours=n)) for n in (2, 0, 1)]
    tell(store, *told)

    assert ids(store) == [told[1].id, told[2].id, told[0].id]
    assert ids(store, limit=1) == [told[1].id]


def test_pages_follow_each_other(store: Store) -> None:
    """Each notification is on one page, also when others come and the one at the cursor is archived meanwhile."""
    workspace(store, bob=Role.VIEWER)
    told = [notice(f"c{n}", at=NOW - timedelta(hours=n)) for n in range(5)]
    tell(store, *told)

    first = ids(store, limit=2)
    tell(store, notice("new", at=NOW + timedelta(minutes=1)))
    notifications.archive(store, BOB, [first[-1]], now=NOW)
    second = ids(store, limit=2, after=first[-1])
    assert [*first, *second, *ids(store, limit=2, after=second[-1])] == [one.id for one in told]
    assert ids(store, after=told[-1].id) == []


def test_what_is_put_away_is_read_and_shown_when_asked_for(store: Store) -> None:
    """It leaves the count once, by however many windows; all at once puts away what was read alone."""
    workspace(store, bob=Role.VIEWER)
    one, two, three = (notice(f"c{n}", at=NOW - timedelta(hours=n)) for n in range(3))
    tell(store, one, two, three)
    answers = race([lambda: notifications.archive(store, BOB, [one.id], now=NOW)] * RACERS)

    assert sum(won(answers)) == 1
    assert count(store) == 2
    assert (ids(store), ids(store, archived=True)) == ([two.id, three.id], [one.id])
    [item] = notifications.shown(store, BOB, now=NOW, archived=True)
    assert (item["unread"], item["read_at"], item["archived_at"]) == (False, *[rfc3339(NOW)] * 2)
    notifications.mark_read(store, BOB, [two.id], now=NOW)
    assert notifications.archive_all(store, BOB, now=NOW) == 1
    assert (ids(store), count(store)) == ([three.id], 1)
    assert notifications.mark_read(store, BOB, [one.id], now=NOW) == 0


def test_an_event_archives_whenever_it_comes(store: Store, objects: Any) -> None:
    """Before its notification it waits; a reading that comes late changes nothing, nor does what is archived twice."""
    told = event("notification.requested.v1", {"user_id": "bob", "topic": "exports.ready", "title": "Done"})
    one = notice("/services/exports\nn1", title="Done", at=NOW.replace(hour=4)).id
    put_away, read = (
        event(f"notification.{verb}.v1", {"user_id": "bob", "notification_id": one}, id_=verb, second=2)
        for verb in ("archived", "read")
    )

    workspace(store, bob=Role.VIEWER)
    first = handle(store, objects, put_away, told, put_away, put_away, read)
    assert first == [Outcome.WAITING, Outcome.ACCEPTED, Outcome.ACCEPTED, Outcome.DUPLICATE, Outcome.ACCEPTED]
    assert (count(store), ids(store), ids(store, archived=True)) == (0, [], [one])


def test_a_workspace_shows_its_own_and_those_of_none(store: Store) -> None:
    """What belongs to another workspace of the same person is neither shown, counted, nor read there."""
    workspace(store, bob=Role.VIEWER)
    workspace(store, "other", bob=Role.VIEWER)
    here, nowhere, there = notice("a"), notice("b", workspace=None), notice("c", workspace="other")
    tell(store, here, nowhere, there)

    assert set(ids(store)) == {here.id, nowhere.id}
    assert notifications.unread(store, BOB, now=NOW).by_workspace == {"ws": 1, None: 1}
    with pytest.raises(Refused):
        notifications.mark_read(store, BOB, [here.id, there.id], now=NOW)
    assert count(store) == 2


def test_notifications_are_for_their_person_only(store: Store) -> None:
    """Not even an Admin sees or reads those of another."""
    ada = workspace(store, bob=Role.VIEWER)
    tell(store, notice())

    assert ids(store, ada) == []
    with pytest.raises(Refused):
        notifications.mark_read(store, ada, [notice().id], now=NOW)
    for forbidden in (notifications.shown, notifications.unread, notifications.mark_all_read):
        with pytest.raises(Refused):
            forbidden(store, ada, now=NOW, user_id="bob")
    with pytest.raises(Refused):
        perform(store, ada, SetPreference(user_id="bob", topic="*", channels={"email": False}), now=NOW)


def test_who_was_removed_sees_nothing_any_more(store: Store) -> None:
    """A caller made up from an old session is looked up again."""

    ada = workspace(store, bob=Role.VIEWER)
    tell(store, notice())
    perform(store, ada, RemoveMember(user_id="bob"), now=NOW)

    for forbidden in (notifications.shown, notifications.unread, notifications.mark_all_read):
        with pytest.raises(Refused):
            forbidden(store, BOB, now=NOW)


def test_a_service_says_whose(store: Store) -> None:
    """Without that it would be everybody's."""
    workspace(store, bob=Role.VIEWER)
    tell(store, notice())

    assert ids(store, service("ws", "console"), user_id="bob") == [notice().id]
    with pytest.raises(Rejected):
        notifications.shown(store, service("ws", "console"), now=NOW)


def test_what_expired_is_gone_before_it_is_removed(store: Store) -> None:
    """TTL removes late: reading, counting and marking look at the clock."""
    workspace(store, bob=Role.VIEWER)
    tell(store, notice(at=NOW - timedelta(days=1)), notice("d"))
    later = NOW + KEPT

    assert [item["title"] for item in notifications.shown(store, BOB, now=later)] == ["About d"]
    assert notifications.unread(store, BOB, now=later).total == 1
    with pytest.raises(Refused, match="expired"):
        notifications.mark_read(store, BOB, [notice(at=NOW - timedelta(days=1)).id], now=later)
    assert notifications.unread(store, BOB, now=later + timedelta(days=2)).total == 0


def test_preferences_decide_what_is_told(store: Store) -> None:
    """Muted here, still told elsewhere; an opinion that is taken back leaves the wider one."""
    workspace(store, bob=Role.VIEWER)
    workspace(store, "other", bob=Role.VIEWER)
    perform(store, BOB, SetPreference(topic="*", channels={"in_app": False}), now=NOW)

    assert tell(store, notice(), notice("d", workspace="other")) == [False, True]
    perform(store, BOB, SetPreference(topic="*", channels={"in_app": None}), now=NOW)
    assert tell(store, notice("e")) == [True]


def test_a_preference_explains_itself(store: Store) -> None:
    """Which statement turned a channel on or off."""
    workspace(store, bob=Role.VIEWER)
    perform(store, BOB, SetPreference(topic="exports.ready", channels={"email": True}, everywhere=True), now=NOW)
    perform(store, BOB, SetPreference(topic="*", channels={"in_app": False}), now=NOW)

    assert {one.channel: (one.on, one.because) for one in notifications.explain(store, BOB, "exports.ready")} == {
        Channel.IN_APP: (False, "* in ws"),
        Channel.EMAIL: (True, "exports.ready everywhere"),
    }
    assert len(notifications.preferences(store, BOB)) == 2


def test_the_lake_learns_that_something_was_told_but_not_what(store: Store) -> None:
    """Titles and texts may hold anything; topics, channels and times are ours."""
    workspace(store, bob=Role.VIEWER)
    tell(store, notice(text="for your eyes", link="https://example.com/x"))
    perform(store, BOB, SetPreference(topic="*", channels={"email": False, "in_app": True}), now=NOW)
    shown = {item["kind"]: image(item) for item in store.query(Table.RECORDS, keys.user("bob"))}

    assert not {"About c", "for your eyes", "https://example.com/x"} & set(map(str, shown["notification"].values()))
    assert (shown["notification"]["topic"], shown["notification"]["unread"]) == ("exports.ready", True)
    assert (shown["preference"]["channels_on"], shown["preference"]["channels_off"]) == (["in_app"], ["email"])
    assert shown["unread"]["unread"] == 1


def event(type_: str, data: dict[str, Any], *, id_: str = "n1", second: int = 0) -> str:
    cloud = {
        "specversion": "1.0",
        "id": id_,
        "source": "/services/exports",
        "type": type_,
        "subject": "ws",
        "time": f"2026-11-23T04:00:{second:02}Z",
        "data": data,
    }
    return envelope(cloud)


def test_events_tell_and_read_once(store: Store, objects: Any) -> None:
    """Copies in any number; two events that tell the same fact are two notifications."""
    workspace(store, bob=Role.VIEWER)
    told = event("notification.requested.v1", {"user_id": "bob", "topic": "exports.ready", "title": "Done"})

    assert handle(store, objects, told, told, told) == [Outcome.ACCEPTED, Outcome.DUPLICATE, Outcome.DUPLICATE]
    [one] = ids(store)
    read = event("notification.read.v1", {"user_id": "bob", "notification_id": one}, id_="r1", second=1)
    again = event("notification.read.v1", {"user_id": "bob", "notification_id": one}, id_="r2", second=2)
    assert handle(store, objects, read, again, read) == [Outcome.ACCEPTED, Outcome.ACCEPTED, Outcome.DUPLICATE]
    assert count(store) == 0
    [item] = notifications.shown(store, BOB, now=NOW)
    assert item["read_at"] == "2026-11-23T04:00:01.000Z"


def test_eight_deliveries_of_one_event_tell_it_once(store: Store, objects: Any) -> None:
    """Fact, notification and count are one transaction."""
    workspace(store, bob=Role.VIEWER)
    told = event("notification.requested.v1", {"user_id": "bob", "topic": "exports.ready", "title": "Done"})
    answers = race([lambda: handle(store, objects, told)] * RACERS)

    assert sorted(outcome for [outcome] in won(answers)) == [Outcome.ACCEPTED] + [Outcome.DUPLICATE] * (RACERS - 1)
    assert count(store) == len(ids(store)) == 1


def test_a_reading_before_its_notification_comes_again(store: Store, objects: Any) -> None:
    """The bus keeps no order; of another person's notification there is nothing to read."""
    told = event("notification.requested.v1", {"user_id": "bob", "topic": "exports.ready", "title": "Done"})
    one = notice("/services/exports\nn1", title="Done", at=NOW.replace(hour=4)).id
    read = event("notification.read.v1", {"user_id": "bob", "notification_id": one}, id_="r1", second=1)
    stranger = event("notification.read.v1", {"user_id": "eve", "notification_id": one}, id_="r2", second=1)

    assert handle(store, objects, read, told, read, stranger) == [
        Outcome.WAITING,
        Outcome.ACCEPTED,
        Outcome.ACCEPTED,
        Outcome.WAITING,
    ]


def test_an_event_states_a_preference(store: Store, objects: Any) -> None:
    """In the workspace that is its subject; a late older one changes nothing."""
    workspace(store, bob=Role.VIEWER)
    new = event("preference.set.v1", {"user_id": "bob", "topic": "*", "channels": {"in_app": False}}, second=2)
    old = event("preference.set.v1", {"user_id": "bob", "topic": "*", "channels": {"in_app": True}}, id_="o")

    assert handle(store, objects, new, old) == [Outcome.ACCEPTED, Outcome.ACCEPTED]
    record = store.get(Table.RECORDS, keys.preference("bob", "ws", "*")) or {}
    assert (record["channels_off"], record["actor"], record["cause"]) == (["in_app"], "bob", "n1")


@pytest.mark.parametrize(
    ("type_", "data"),
    [
        ("notification.requested.v1", {"user_id": "b@example.com", "topic": "x", "title": "t"}),
        ("notification.requested.v1", {"user_id": "bob", "topic": "X", "title": "t"}),
        ("notification.requested.v1", {"user_id": "bob", "topic": "x", "title": "t", "link": "javascript:1"}),
        ("notification.requested.v1", {"user_id": "bob", "topic": "x"}),
        ("notification.read.v1", {"user_id": "bob", "notification_id": "nonsense"}),
        ("preference.set.v1", {"user_id": "bob", "topic": "x", "channels": {"pigeon": True}}),
    ],
)
def test_what_is_wrong_for_good_is_rejected(type_: str, data: dict[str, Any], store: Store, objects: Any) -> None:
    """And kept."""
    assert handle(store, objects, event(type_, data)) == [Outcome.REJECTED]
