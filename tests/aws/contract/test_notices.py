"""Told once, counted exactly, accepted once: with eight at once, on every engine."""

from __future__ import annotations

from datetime import timedelta
from functools import partial

from tests.support.flows.operations import NOW
from tests.support.people import RACERS, member, race, won, workspace

from nilometer import AcceptPolicy, Notify, Policy, PublishPolicy, operator, perform, service
from nilometer.aws.dynamodb import Store
from nilometer.domain.acts.roles import Role
from nilometer.flows.notices import notifications
from nilometer.flows.people import policies

BOB = member("bob", Role.VIEWER)


def tell(store: Store, cause: str) -> bool:
    deed = Notify(user_id="bob", topic="exports.ready", title="Done", once=cause)
    return perform(store, service("ws", "exports"), deed, now=NOW).told


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
    version = PublishPolicy(policy=Policy.TERMS, version=1, url="https://x", content_sha256="ab" * 32, effective_at=NOW)
    perform(store, operator("legal"), version, now=NOW)
    accepts = AcceptPolicy(policy=Policy.TERMS, version=1)
    tries = [partial(perform, store, BOB, accepts, now=NOW + timedelta(seconds=n)) for n in range(RACERS)]

    assert sorted(won(race(tries))) == [False] * (RACERS - 1) + [True]
    [kept] = policies.acceptances(store, BOB)
    assert kept["version"] == 1
