"""Rebucket: facts into the billing periods in which they belong since a boundary moved.

A plan change with an anchor reset, a trial's end, a renewal that came late: the billing record's timeline says so in
hindsight. What if usage is counted or voided meanwhile? Each move is one transaction on the fact's version. What if
the process dies? Facts that were moved are found in their place. Run it again until nothing is left.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice

from nilometer.aws.dynamodb import Store
from nilometer.domain import keys
from nilometer.domain.counter import Group, Name, Seen
from nilometer.domain.period import period_at
from nilometer.domain.rebucket import is_elsewhere, moved
from nilometer.domain.times import parse_rfc3339
from nilometer.domain.void import counted
from nilometer.domain.writes import Item, Key, Table
from nilometer.errors import Cancelled
from nilometer.flows.known import Known, Tenant

TOGETHER = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Rebucketed:
    """`expired` facts are older than their life: their period is as it was counted."""

    moved: int = 0
    left: int = 0
    expired: int = 0


def rebucket(
    store: Store, workspace_id: str, identities: Iterable[tuple[str, str]], *, now: datetime, dry_run: bool = True
) -> Rebucketed:
    """Moves the facts among `identities` (source, id) that are in another period than the timeline says.

    `lake.ledger.Ledger.usage_identities` gives those of a workspace. With `dry_run` they are counted as `left`.
    """
    known = Known(store)
    tenant = known.tenants([workspace_id]).get(workspace_id)
    if tenant is None:
        return Rebucketed()
    done, left, expired = 0, 0, 0
    for page in _pages(identities):
        facts = store.batch_get(Table.EVENTS, (keys.usage_event(*one) for one in page), consistent=True)
        expired += len(set(page)) - len(facts)
        for fact in facts.values():
            if fact["kind"] == "usage_event" and fact["workspace_id"] == workspace_id:
                was_moved, remains = _try_move(known, tenant, fact, now, dry_run)
                done, left = done + was_moved, left + remains
    return Rebucketed(moved=done, left=left, expired=expired)


def _try_move(known: Known, tenant: Tenant, fact: Item, now: datetime, dry_run: bool) -> tuple[int, int]:
    """(moved, left)."""
    period = period_at(tenant.billing, parse_rfc3339(fact["time"]))
    if "voids_id" in fact or not is_elsewhere(fact, period):
        return 0, 0
    if dry_run:
        return 0, 1
    group = Group(tenant.workspace_id, period, known.meters([fact["meter"]]))
    shard = random.randrange(tenant.shards)
    try:
        known.store.commit(moved(fact, group, _seen(known.store, group, fact, shard), shard=shard, now=now))
    except Cancelled:
        return 0, 1
    return 1, 0


def _seen(store: Store, group: Group, fact: Item, shard: int) -> Seen:
    name = Name(fact["meter"], group.start)
    if not group.reads_before(name):
        return Seen({}, set())
    event = counted(fact)
    value = group.value(event)
    stored = store.get(Table.RECORDS, group.counter(name, shard), consistent=True)
    key = group.value_key(name, value) if value else None
    known_value: set[Key] = {key} if key and store.get(Table.EVENTS, key, consistent=True) else set()
    return Seen({name: stored} if stored else {}, known_value)


def _pages(identities: Iterable[tuple[str, str]]) -> Iterator[Sequence[tuple[str, str]]]:
    remaining = iter(identities)
    while page := list(islice(remaining, TOGETHER)):
        yield page
