"""Policies: publish a version, accept one, see what is outstanding. Nothing here changes or removes what is stored."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

from nilometer.aws.dynamodb import Store
from nilometer.domain.acts.act import Act, Caller
from nilometer.domain.acts.origin import of_act, of_actor
from nilometer.domain.acts.roles import Permission
from nilometer.domain.people import policy
from nilometer.domain.people.policy import Policy, PolicyVersion
from nilometer.domain.store import keys
from nilometer.domain.store.writes import Item, Table, Write
from nilometer.errors import Refused
from nilometer.flows.inbox.races import retrying
from nilometer.flows.people.acting import Stored, new_act, perform, reading, whose


def publish(store: Store, version: PolicyVersion, *, actor: str, now: datetime) -> bool:
    """For operators. False when it is published already; `Rejected("conflict")` when its number says something else."""

    def attempt() -> bool:
        stored = store.get(Table.RECORDS, version.key, consistent=True)
        writes = policy.publish(stored, version, origin=of_actor(actor, now), now=now)
        store.commit(writes)
        return bool(writes)

    return retrying(attempt)


def accept(
    store: Store,
    caller: Caller,
    which: str,
    number: int,
    *,
    now: datetime,
    address: str | None = None,
    address_key: bytes = b"",
    user_agent: str | None = None,
) -> bool:
    """The caller accepts for himself. False when he had: the first acceptance stays as it is.

    Of `address` only a hash under `address_key` is stored. `Unavailable` when there is no such version.
    """
    if caller.role is None:
        raise Refused("a policy is accepted by a person, not by a service")
    said = policy.new_acceptance(
        caller.user_id,
        which,
        number,
        at=now,
        ip_hash=policy.ip_hash(address, key=address_key) if address is not None else None,
        user_agent=user_agent,
        workspace_id=caller.workspace_id,
    )

    def decide(act: Act, stored: Stored) -> tuple[Sequence[Write], bool]:
        act.caller.require(Permission.POLICY_ACCEPT)
        writes = policy.accept(stored, said, origin=of_act(act), now=now)
        return writes, bool(writes)

    return perform(store, new_act(caller, now), policy.accept_reads(said), decide)


def versions(store: Store, which: Policy) -> list[Item]:
    """Every published version, the newest first."""
    return list(store.query(Table.RECORDS, keys.policy(which), prefix="VERSION#", newest_first=True))


def in_force(store: Store, which: Policy, *, now: datetime) -> Item | None:
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
