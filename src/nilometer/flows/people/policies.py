"""Policies: what is published, who accepted it, and what is outstanding."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from nilometer.aws.dynamodb import Store
from nilometer.domain.acts.act import Caller
from nilometer.domain.acts.roles import Permission
from nilometer.domain.people import policy
from nilometer.domain.people.policy import Policy
from nilometer.domain.store import keys
from nilometer.domain.store.writes import Item, Table
from nilometer.flows.people.acting import reading, whose


def versions(store: Store, which: Policy) -> list[Item]:
    """Every published version, the newest first."""
    return list(store.query(Table.RECORDS, keys.policy(which), prefix="VERSION#", newest_first=True))


def in_force(store: Store, which: Policy, *, now: datetime) -> Item | None:
    """The highest version that has taken effect by `now`; None when none has. Eventually consistent."""
    return policy.in_force(versions(store, which), now)


def acceptances(store: Store, caller: Caller, *, user_id: str | None = None) -> list[Item]:
    """All that the caller ever accepted, in any workspace or none."""
    own = whose(caller, user_id)
    reading(store, caller, Permission.POLICY_ACCEPT)
    return acceptances_of(store, own)


def outstanding(store: Store, caller: Caller, *, now: datetime, user_id: str | None = None) -> tuple[Item, ...]:
    """The versions in force that the caller has yet to accept."""
    own = whose(caller, user_id)
    reading(store, caller, Permission.POLICY_ACCEPT)
    return outstanding_of(store, own, now=now)


def acceptances_of(store: Store, user_id: str) -> list[Item]:
    """For services, which also have people who are in no workspace yet."""
    return list(store.query(Table.RECORDS, keys.user(user_id), prefix="ACCEPTANCE#", consistent=True))


def outstanding_of(store: Store, user_id: str, *, now: datetime) -> tuple[Item, ...]:
    """For services: three small queries for what is published, and one of the person's own."""
    published = {which: versions(store, which) for which in Policy}
    return policy.outstanding(published, acceptances_of(store, user_id), now)


def accepted_by(store: Store, which: Policy, number: int) -> Iterator[Item]:
    """For operators: who accepted one version, in the order of time. Eventually consistent."""
    return store.query_index(keys.accepted(which, number))
