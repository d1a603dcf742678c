"""Told once, counted exactly, accepted once: with eight at once, on every engine."""

from __future__ import annotations

from datetime import timedelta
from functools import partial

from tests.support.flows.operations import NOW
from tests.support.people import RACERS, member, race, won, workspace

from nilometer.aws.dynamodb import Store
from nilometer.domain.acts.roles import Role
from nilometer.domain.notices import notification
from nilometer.domain.notices.notification import Notice
from nilometer.domain.people import policy
from nilometer.flows.notices import notifications
from nilometer.flows.people import policies

BOB = member("bob", Role.VIEWER)


def notice(cause: str) -> Notice:
    return notification.new_notice("bob", topic="exports.ready", title="Done", cause=cause, at=NOW, workspace_id="ws")


def tell(store: Store, cause: str) -> bool:
    return notifications.notify(store, notice(cause), actor="exports", now=NOW)


def test_a_notice_is_told_once(store: Store) -> None:
    """Of eight who tell the same at once."""
    workspace(store, bob=Role.VIEWER)

    assert sorted(won(race([partial(tell, store, "c")] * RACERS))) == [False] * (RACERS - 1) + [True]
    assert notifications.unread(store, BOB, now=NOW).total == 1


def test_the_count_is_exact(store: Store) -> None:
    """While four tell and four read."""
    workspace(store, bob=Role.VIEWER)
    for n in range(4):
        tell(store, f"old{n}")
    told = [partial(tell, store, f"new{n}") for n in range(4)]
    read = [partial(notifications.mark_all_read, store, BOB, now=NOW)] * 4
    race([*told, *read])

    left = notifications.shown(store, BOB, now=NOW, unread=True)
    assert notifications.unread(store, BOB, now=NOW).total == len(left)


def test_the_first_acceptance_stays(store: Store) -> None:
    """Of eight at different times one is stored, and it does not change."""
    workspace(store, bob=Role.VIEWER)
    version = policy.new_version("terms", 1, url="https://x", content_sha256="ab" * 32, effective_at=NOW)
    policies.publish(store, version, actor="legal", now=NOW)
    tries = [partial(policies.accept, store, BOB, "terms", 1, now=NOW + timedelta(seconds=n)) for n in range(RACERS)]

    assert sorted(won(race(tries))) == [False] * (RACERS - 1) + [True]
    [kept] = policies.acceptances(store, BOB)
    assert kept["version"] == 1
