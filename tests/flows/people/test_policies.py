"""Policies on a real engine: published once, accepted once, kept for ever."""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from tests.support.flows.operations import NOW, event, handle
from tests.support.people import RACERS, member, race, won, workspace

from nilometer import operator, perform
from nilometer.aws.dynamodb import Store
from nilometer.domain.acts.act import service
from nilometer.domain.acts.roles import Role
from nilometer.domain.events.outcome import Outcome
from nilometer.domain.lake.redaction import REDACTED, image
from nilometer.domain.people import policy
from nilometer.domain.people.policy import AcceptPolicy, Policy, PublishPolicy
from nilometer.errors import Refused, Rejected, Unavailable
from nilometer.flows.people import policies

KEY = b"a key of at least sixteen bytes"
ADDRESS = "192.0.2.7"
AGENT = "Mozilla/5.0 (X11; Linux x86_64)"
BOB = member("bob", Role.VIEWER)
SHA = "ab" * 32


def version(number: int = 1, which: str = "terms", **given: Any) -> PublishPolicy:
    given = {"content_sha256": SHA, "effective_at": NOW - timedelta(days=1), **given}
    return PublishPolicy(policy=Policy(which), version=number, url="https://example.com/terms", **given)


def publish(store: Store, *versions: PublishPolicy) -> list[bool]:
    return [perform(store, operator("legal"), one, now=NOW) for one in versions]


def accept(store: Store, number: int = 1, which: str = "terms", *, caller: Any = BOB, **given: Any) -> bool:
    hashed = policy.ip_hash(given.pop("address", ADDRESS), key=KEY)
    deed = AcceptPolicy(policy=Policy(which), version=number, ip_hash=hashed, user_agent=AGENT)
    return perform(store, caller, deed, now=given.pop("now", NOW))


def missing(store: Store) -> list[tuple[str, int]]:
    found = policies.outstanding(store, BOB, now=NOW)
    return [(item["policy"], item["policy_version"]) for item in found]


def test_a_person_accepts_what_is_outstanding(store: Store) -> None:
    """Of all policies the version in force, until the next one."""
    workspace(store, bob=Role.VIEWER)
    publish(store, version(1), version(1, "privacy"), version(2, effective_at=NOW + timedelta(days=1)))

    assert missing(store) == [("privacy", 1), ("terms", 1)]
    accept(store)
    assert missing(store) == [("privacy", 1)]
    assert [item["policy_version"] for item in policies.versions(store, Policy.TERMS)] == [2, 1]
    in_force = policies.in_force(store, Policy.TERMS, now=NOW + timedelta(days=2)) or {}
    assert in_force["policy_version"] == 2


def test_an_acceptance_never_changes(store: Store) -> None:
    """Neither a repetition, nor another address, nor eight at once touch the first."""
    workspace(store, bob=Role.VIEWER)
    publish(store, version())

    answers = race([lambda: accept(store)] * RACERS)
    later = accept(store, now=NOW + timedelta(days=9), address="192.0.2.8", user_agent="other")
    [kept] = policies.acceptances(store, BOB)
    assert sorted(won(answers)) == [False] * (RACERS - 1) + [True]
    assert later is False
    assert (kept["version"], kept["accepted_at"], kept["user_agent"]) == (1, "2026-11-23T12:00:00.000Z", AGENT)
    assert kept["ip_hash"] == policy.ip_hash(ADDRESS, key=KEY)
    assert "expires_at" not in kept


def test_address_and_user_agent_do_not_reach_the_lake(store: Store) -> None:
    """The record has a keyed hash and the agent; the image of its change has neither."""
    workspace(store, bob=Role.VIEWER)
    publish(store, version())
    accept(store)
    [kept] = policies.acceptances(store, BOB)

    shown = image(kept)
    assert ADDRESS not in str(kept)
    assert (shown["ip_hash"], shown["user_agent"]) == (REDACTED, REDACTED)
    assert kept["ip_hash"] not in str(shown)
    assert (shown["policy"], shown["policy_version"], shown["accepted_at"]) == ("terms", 1, "2026-11-23T12:00:00.000Z")


def test_a_published_version_never_changes(store: Store) -> None:
    """Doing it again changes nothing; of eight texts under one number one is published."""
    assert publish(store, version(), version()) == [True, False]
    with pytest.raises(Rejected, match="content_sha256"):
        publish(store, version(content_sha256="cd" * 32))

    texts = [version(2, content_sha256=f"{n:064x}") for n in range(RACERS)]
    answers = race([partial(publish, store, one) for one in texts])
    assert won(answers) == [[True]]


def test_only_persons_accept_and_only_what_is_published(store: Store) -> None:
    """A service reports acceptances as events, and says whose."""
    workspace(store, bob=Role.VIEWER)

    with pytest.raises(Unavailable):
        accept(store)
    publish(store, version())
    with pytest.raises(Refused):
        perform(store, service("ws", "console"), AcceptPolicy(user_id="bob", policy=Policy.TERMS, version=1), now=NOW)
    with pytest.raises(Refused, match="no member"):
        accept(store, caller=member("eve", Role.ADMIN))


def test_acceptances_are_for_their_person_only(store: Store) -> None:
    """Also for an Admin; an operator finds all who accepted a version."""
    ada = workspace(store, bob=Role.VIEWER)
    publish(store, version(), version(2))
    accept(store)
    accept(store, caller=ada, now=NOW + timedelta(seconds=1))
    accept(store, 2)

    for forbidden in (policies.acceptances, lambda *a, **k: policies.outstanding(*a, now=NOW, **k)):
        with pytest.raises(Refused):
            forbidden(store, ada, user_id="bob")
    assert [item["user_id"] for item in policies.accepted_by(store, Policy.TERMS, 1)] == ["bob", "ada"]
    assert len(policies.acceptances(store, service("ws", "op"), user_id="bob")) == 2


PUBLISHED = {
    "policy": "cookies",
    "version": 1,
    "url": "https://example.com/cookies",
    "content_sha256": SHA,
    "effective_at": "2026-11-01T00:00:00Z",
}
ACCEPTED = {"user_id": "bob", "policy": "cookies", "version": 1, "ip_hash": "cd" * 32, "user_agent": AGENT}


def test_events_publish_and_accept(store: Store, objects: Any) -> None:
    """In any order, with copies; a second acceptance is a fact without effect."""
    published = event("policy.published.v1", PUBLISHED, id_="p")
    accepted = event("policy.accepted.v1", ACCEPTED, id_="a")
    second = event("policy.accepted.v1", {**ACCEPTED, "user_agent": "other"}, id_="b", second=9)

    assert handle(store, objects, accepted, published, accepted, accepted, second) == [
        Outcome.WAITING,
        Outcome.ACCEPTED,
        Outcome.ACCEPTED,
        Outcome.DUPLICATE,
        Outcome.ACCEPTED,
    ]
    [kept] = policies.acceptances_of(store, "bob")
    assert (kept["user_agent"], kept["cause"], kept["actor"]) == (AGENT, "a", "bob")
    assert policies.outstanding_of(store, "bob", now=NOW) == ()


@pytest.mark.parametrize(
    ("type_", "data"),
    [
        ("policy.published.v1", {**PUBLISHED, "policy": "returns"}),
        ("policy.published.v1", {**PUBLISHED, "effective_at": "tomorrow"}),
        ("policy.published.v1", {**PUBLISHED, "url": "http://example.com"}),
        ("policy.accepted.v1", {**ACCEPTED, "ip_hash": ADDRESS}),
        ("policy.accepted.v1", {**ACCEPTED, "ip": ADDRESS}),
        ("policy.accepted.v1", {**ACCEPTED, "user_id": "bob@example.com"}),
    ],
)
def test_what_is_wrong_for_good_is_rejected(type_: str, data: dict[str, Any], store: Store, objects: Any) -> None:
    """An address in place of its hash too."""
    assert handle(store, objects, event(type_, data, id_="x")) == [Outcome.REJECTED]


def test_another_text_under_a_published_number_is_rejected(store: Store, objects: Any) -> None:
    """The first stays."""
    first = event("policy.published.v1", PUBLISHED, id_="p")
    other = event("policy.published.v1", {**PUBLISHED, "content_sha256": "cd" * 32}, id_="q")

    assert handle(store, objects, first, other) == [Outcome.ACCEPTED, Outcome.REJECTED]
