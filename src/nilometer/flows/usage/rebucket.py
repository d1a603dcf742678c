"""Rebucket: facts into the billing periods in which they belong since a boundary moved.

A plan change with an anchor reset, a trial's end, a renewal that came late: the billing record's timeline says so in
hindsight. What if usage is counted or voided meanwhile? Each move is one transaction on the fact's version. What if
the process dies? Facts that were moved are found in their place. Run it again until nothing is left. What if Stripe
has it already? That moves in the same transaction, against a drain by the version of what was sent.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import islice

from nilometer.aws.dynamodb import Store
from nilometer.domain.store import keys
from nilometer.domain.store.times import parse_rfc3339, rfc3339
from nilometer.domain.store.writes import Delete, Item, Key, Table, Write, unchanged
from nilometer.domain.usage import rebucket as domain
from nilometer.domain.usage.counter import CounterName, StoredBefore, UsageGroup
from nilometer.domain.usage.meter import Aggregation
from nilometer.domain.usage.meter_event import Metered, handed_over
from nilometer.domain.usage.period import period_at
from nilometer.domain.usage.rebucket import is_elsewhere, looked, moved, moved_by
from nilometer.domain.usage.void import counted
from nilometer.errors import Cancelled
from nilometer.flows.inbox.races import retrying
from nilometer.flows.usage.counters import used_in
from nilometer.flows.usage.known import Known, Tenant
from nilometer.flows.usage.metering import ADDED

TOGETHER = 100
SETTLES = timedelta(hours=1)
LANDED = timedelta(days=3)
"""Within this all that was counted is in the lake. The tables' streams keep a day, and a lake that is behind for a
quarter of an hour is an alarm."""
RESTS = timedelta(hours=20)
"""Between two looks at a workspace of which nothing was to be moved: each reads all its facts since the boundary."""

Facts = Callable[[str, datetime], Iterable[tuple[str, str]]]
"""(source, id) of a workspace's facts since a time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rebucketed:
    """`expired` facts are older than their life: their period is as it was counted. `stopped`: there was no time for
    all."""

    moved: int = 0
    left: int = 0
    expired: int = 0
    stopped: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """One workspace that was marked; `done` when nothing was left to move and its mark is removed."""

    workspace_id: str
    moved: int
    done: bool


def mark(store: Store, workspace_id: str, *, since: datetime, billing_version: int, now: datetime) -> None:
    """Its facts since then are looked at by the next run. The same version again changes nothing.

    One request for a workspace without a mark, which is what most have; three with one.
    """

    looks = False

    def attempt() -> None:
        nonlocal looks
        stored = store.get(Table.RECORDS, keys.rebucket(workspace_id), consistent=True) if looks else None
        looks = True
        put = domain.mark(stored, workspace_id, since=since, billing_version=billing_version, now=now)
        if put:
            store.put(put)  # our own, written by an attempt whose answer was lost, is seen by the next

    retrying(attempt)


def run(
    store: Store, facts: Facts, *, now: datetime, out_of_time: Callable[[], bool] = lambda: False
) -> Iterator[Moved]:
    """Moves the facts of every workspace whose periods moved, by what the lake's `facts` names.

    A mark stays until a run finds nothing to move, three days after the mark at the earliest: the lake may be behind,
    and a fact may have been counted by a period that a consumer still remembered. Until then a run looks each hour
    while it moves facts, else once a day. A mark that is younger than an hour waits for the same reason.

    `out_of_time` is asked before each fact: one workspace may have millions, and the next run goes on with it. Each run
    has another order, so that each workspace gets its turn.
    """
    due = [item for item in store.query_index(keys.REBUCKET) if _is_due(item, now)]
    for item in random.sample(due, len(due)):
        if out_of_time():
            return
        named = facts(item["workspace_id"], parse_rfc3339(item["since"]))
        found = rebucket(store, item["workspace_id"], named, now=now, dry_run=False, out_of_time=out_of_time)
        done = not found.moved and not found.left and not found.stopped and _unmark(store, item, now)
        yield Moved(workspace_id=item["workspace_id"], moved=found.moved, done=done)


def _is_due(item: Item, now: datetime) -> bool:
    looked_at = item.get("looked_at")
    return parse_rfc3339(item["marked_at"]) <= now - SETTLES and (
        looked_at is None or parse_rfc3339(looked_at) <= now - RESTS
    )


def _unmark(store: Store, item: Item, now: datetime) -> bool:
    """False when the mark is too young to go, or was marked again meanwhile."""
    is_over = parse_rfc3339(item["marked_at"]) <= now - LANDED
    gone = Delete(table=Table.RECORDS, key=Key(item["pk"], item["sk"]), expected=unchanged(item, "billing_version"))
    try:
        store.commit([gone if is_over else looked(item, now=now)])
    except Cancelled:
        return False
    return is_over


def rebucket(
    store: Store,
    workspace_id: str,
    identities: Iterable[tuple[str, str]],
    *,
    now: datetime,
    dry_run: bool = True,
    out_of_time: Callable[[], bool] = lambda: False,
) -> Rebucketed:
    """Moves the facts among `identities` (source, id) that are in another period than the timeline says.

    `lake.facts.usage_identities` gives those of a workspace. With `dry_run` they are counted as `left`.
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
            if out_of_time():
                return Rebucketed(moved=done, left=left, expired=expired, stopped=True)
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
    group = UsageGroup(tenant.workspace_id, period, known.meters([fact["meter"]]))
    handed = _handed_over(known.store, group, fact, now)
    if handed is None:
        return 0, 1
    shard = random.randrange(tenant.shards)
    writes = moved(fact, group, _seen(known.store, group, fact, shard), shard=shard, now=now)
    try:
        known.store.commit([*writes, *handed])
    except Cancelled:
        return 0, 1
    return 1, 0


def _handed_over(store: Store, group: UsageGroup, fact: Item, now: datetime) -> list[Write] | None:
    """What Stripe has of the fact, from the old period to the new one; None while that is not known, because a delta
    of the old one is pending."""
    event, meter = counted(fact), group.meters[fact["meter"]]
    if meter.aggregation not in ADDED:
        return []
    end = rfc3339(group.period.end)
    old, new = (
        Metered(workspace_id=group.workspace_id, meter=meter.slug, period_start=start, period_end=end)
        for start in (fact["period_start"], group.start)
    )
    stored = store.get(Table.RECORDS, old.key, consistent=True)
    if stored and "pending" in stored:
        return None
    is_told = stored and stored["sent"] > 0
    used = used_in(store, group.workspace_id, meter, old.period_start, consistent=True) if is_told else Decimal(0)
    amount = event.quantity if meter.aggregation is Aggregation.SUM else Decimal(1)
    return handed_over(stored, old, new, used=used, amount=amount, cause=moved_by(event), now=now)


def _seen(store: Store, group: UsageGroup, fact: Item, shard: int) -> StoredBefore:
    name = CounterName(fact["meter"], group.start)
    if not group.reads_before(name):
        return StoredBefore({}, set())
    event = counted(fact)
    value = group.value(event)
    stored = store.get(Table.RECORDS, group.counter(name, shard), consistent=True)
    key = group.value_key(name, value) if value else None
    known_value: set[Key] = {key} if key and store.get(Table.EVENTS, key, consistent=True) else set()
    return StoredBefore({name: stored} if stored else {}, known_value)


def _pages(identities: Iterable[tuple[str, str]]) -> Iterator[Sequence[tuple[str, str]]]:
    remaining = iter(identities)
    while page := list(islice(remaining, TOGETHER)):
        yield page
