"""Notifications: ids from causes, a count that equals what is unread after any history."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tests.support.acts import act

from nilometer import Channel, Notify, SetPreference, service
from nilometer.domain.notices import notification, seen
from nilometer.domain.notices.notification import KEPT, Notice
from nilometer.domain.store import keys, ulid
from nilometer.domain.store.writes import Absent, Key, Put, Update, Write, version_of
from nilometer.errors import Rejected, Unavailable

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
ACT = act(now=NOW)


def notice(cause: str = "c", *, days: float = 0, workspace: str | None = "ws", **given: Any) -> Notice:
    deed = Notify(user_id="u", once=cause, **{"topic": "exports.ready", "title": "Done", **given})
    return deed.notice(act(service(workspace or "", "exports"), at=NOW - timedelta(days=days)))


class Table(dict[Key, Any]):
    """What DynamoDB would hold after commits of decisions that were made on what is stored."""

    def commit(self, writes: Iterable[Write]) -> None:
        for write in writes:
            match write:
                case Put():
                    assert write.expected == version_of(self.get(write.key)) or isinstance(write.expected, Absent)
                    self[write.key] = write.item
                case Update():
                    item = self.setdefault(write.key, {"pk": write.key.pk, "sk": write.key.sk})
                    item |= {name: item.get(name, 0) + by for name, by in write.add.items()} | write.set

    def of(self, prefix: str) -> list[Any]:
        return [item for key, item in self.items() if key.sk.startswith(prefix)]


STEPS = st.tuples(st.sampled_from(["request", "read", "request", "read", "archive", "wait"]), st.integers(0, 3))


@given(st.lists(STEPS, min_size=5, max_size=40))
@example([("request", 0), ("read", 0), ("read", 0), ("request", 0)])
@example([("request", 3), ("wait", 3), ("wait", 3), ("read", 3)])
def test_the_count_is_the_number_of_unread(steps: list[tuple[str, int]]) -> None:
    """After any history of requests, copies, reads, archiving, repeated or not, and time that passes."""
    table, now = Table(), NOW
    for what, number in steps:
        one = notice(f"c{number}", days=number * 28, workspace=[None, "ws", "ws", "other"][number])
        match what:
            case "request":
                table.commit(notification.request(table, one, act=act(now=now)))
            case "read":
                table.commit(seen.read([table[one.key]] if one.key in table else [], act=act(now=now)))
            case "archive":
                table.commit(seen.archive([table[one.key]] if one.key in table else [], act=act(now=now)))
            case "wait":
                now += timedelta(days=number)
    unread = [item for item in table.of("NOTIFICATION#") if item["unread"] and item["expires_at"] > now.timestamp()]
    counted = notification.unread_total(table.of("UNREAD#"), now)

    assert counted.total == len(unread)
    assert counted.by_workspace == {
        workspace: sum(item["workspace_id"] == workspace for item in unread)
        for workspace in {item["workspace_id"] for item in unread}
    }


def test_the_same_cause_is_the_same_notification() -> None:
    """For one person and topic; the id sorts by the time of the cause."""
    assert notice("c").id == notice("c", title="Other words").id
    assert len({notice("c").id, notice("d").id, notice("c", topic="exports.failed").id}) == 3
    assert notice("c", days=1).id < notice("c").id


@given(st.integers(0, 253_402_214_400_000), st.lists(st.text(), max_size=3))
def test_a_derived_id_tells_its_time(milliseconds: int, identity: list[str]) -> None:
    """From 1970 to the end of all time that a datetime has."""
    instant = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=milliseconds)
    one = ulid.derived(instant, *identity)

    assert ulid.is_ulid(one)
    assert ulid.time_of(one) == instant


@pytest.mark.parametrize(
    "text", ["", "x" * 26, "7" + "Z" * 25, "01ARZ3NDEKTSV4RRFFQ69G5FA", "01arz3ndektsv4rrffq69g5fav"]
)
def test_what_is_no_ulid_is_known_as_such(text: str) -> None:
    """A time beyond the last datetime too."""
    assert not ulid.is_ulid(text)


def test_what_nobody_wants_to_hear_is_not_stored() -> None:
    """By e-mail only, it is stored for who sends it, and is neither shown nor counted."""
    one = notice()
    said = (
        SetPreference(user_id="u", topic="*", channels=channels, everywhere=True)
        for channels in ({Channel.IN_APP: False}, {Channel.IN_APP: False, Channel.EMAIL: True})
    )
    deaf, by_mail = (deed.decide(ACT, {})[0] for deed in said)
    assert isinstance(deaf, Put)
    assert isinstance(by_mail, Put)

    assert notification.request({deaf.key: deaf.item}, one, act=ACT) == []
    [put] = notification.request({by_mail.key: by_mail.item}, one, act=ACT)
    assert isinstance(put, Put)
    assert put.item["channels"] == ["email"]
    assert not notification.is_shown(put.item, workspace_id="ws", now=NOW)


def test_notifications_and_their_count_expire_together() -> None:
    """At the end of a UTC day: one counter a day, not one a notification."""
    put, count = notification.request({}, notice(), act=ACT)

    assert isinstance(put, Put)
    assert isinstance(count, Update)
    assert put.item["expires_at"] == count.set["expires_at"]
    assert put.item["expires_at"] % 86_400 == 0
    assert put.item["expires_at"] >= (NOW + KEPT).timestamp()
    assert count.key == keys.unread("u", "ws", "2027-02-22")


def test_reading_what_has_expired_changes_nothing() -> None:
    """Its counter may be removed already, and must not come back below zero."""
    put, _ = notification.request({}, notice(), act=ACT)

    assert isinstance(put, Put)
    assert seen.read([put.item], act=act(now=NOW + KEPT + timedelta(days=1))) == []


def test_what_expired_on_its_way_is_not_stored() -> None:
    """And what has not happened yet is refused: a wrong clock must not make a notice that never expires."""
    assert notification.request({}, notice(days=92), act=ACT) == []
    with pytest.raises(Rejected):
        notification.request({}, notice(days=-2), act=ACT)


def test_an_unknown_notification_is_expected_while_it_could_come() -> None:
    """Afterwards it has expired; an id that no notification can have is wrong for good."""
    seen.check_expected(notice(days=92).id, NOW)
    with pytest.raises(Unavailable):
        seen.check_expected(notice(days=1).id, NOW)
    for wrong in ("nonsense", notice(days=-2).id):
        with pytest.raises(Rejected):
            seen.check_expected(wrong, NOW)


@pytest.mark.parametrize("link", ["javascript:alert(1)", "//evil.example", "/\\evil.example", "http://x", "billing"])
def test_a_link_stays_here_or_is_encrypted(link: str) -> None:
    """It is shown to a person, who clicks."""
    with pytest.raises(Rejected):
        notice(link=link)


@pytest.mark.parametrize("wrong", [{"title": ""}, {"title": "x" * 201}, {"text": "x" * 4_001}, {"topic": "No Topic"}])
def test_what_cannot_be_a_notice_is_rejected(wrong: dict[str, Any]) -> None:
    """With a reason."""
    with pytest.raises(Rejected):
        notice(**wrong)
