"""Usage that came too early: kept until its workspace or its meter is known.

What if it becomes known at this very moment? The checks and the puts are one transaction: either the creation finds
what waits, or the puts are cancelled and the events are counted at once.

What if it never is? When its time to wait is over each event becomes a reject in one transaction with its removal:
a process that dies or is late leaves it either waiting or rejected. A process that counts it at that moment checks in
the same transaction that it still waits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from itertools import islice

from nilometer.aws.dynamodb import Store
from nilometer.domain.events.outcome import Outcome
from nilometer.domain.events.reject import Reject, item
from nilometer.domain.events.waiting import Waiting
from nilometer.domain.store import keys
from nilometer.domain.store.times import parse_rfc3339
from nilometer.domain.store.writes import Check, Delete, Item, Key, Present, Put, Table, Write, version_of
from nilometer.domain.usage.event import KEPT
from nilometer.domain.usage.waiting import Missing, is_overdue, missing_of, waited, waiting
from nilometer.errors import Cancelled, Unavailable
from nilometer.flows.usage.counting import UsageBatch, still_waiting
from nilometer.flows.usage.events import UsageArrival, note, parse, settle

TOGETHER = 90  # in one transaction; an event has at most 16 KB, a transaction 4 MB
PAGE = 500  # waiting events that are counted at a time

Settle = Callable[[Sequence[UsageArrival]], None]
"""Gives an outcome to events that waited, and keeps the rejects among them."""


def wait(batch: UsageBatch, arrivals: Sequence[UsageArrival], missing: Missing) -> list[UsageArrival]:
    """Keeps events that need the same; returns the unsettled when it is known by now."""
    together = TOGETHER // 2 if any(one.waited for one in arrivals) else TOGETHER
    for start in range(0, len(arrivals), together):
        if not _keep(batch, arrivals[start : start + together], missing):
            return [one for one in arrivals if one.outcome is Outcome.FAILED]
    return []


def count_waiting(batch: UsageBatch, missing: Missing, settle_all: Settle) -> Outcome:
    """Counts what waited for something that is known by now, then removes it: repeated after a crash, it finds facts
    and only removes. IGNORED when nothing waited, FAILED when something still does."""
    outcome = Outcome.IGNORED
    while page := _page(batch.store, missing):
        outcome = Outcome.ACCEPTED
        if batch.expired or not _count_page(page, missing, batch, settle_all):
            return Outcome.FAILED
    return outcome


def _page(store: Store, missing: Missing) -> list[Item]:
    return list(islice(store.query(Table.EVENTS, missing.partition, consistent=True), PAGE))


def _count_page(items: Sequence[Item], missing: Missing, batch: UsageBatch, settle_all: Settle) -> bool:
    """True when the whole page is settled and removed. What waits for another cause is stored under that cause."""
    arrivals = [_arrival(item, batch.now) for item in items]
    settle_all(arrivals)
    left = [one for one in arrivals if one.outcome is Outcome.FAILED or one.missing == missing]
    unsettled = {one.waited for one in left}
    gone = [key for item in items if (key := Key(item["pk"], item["sk"])) not in unsettled]
    batch.store.delete_all(Table.EVENTS, gone)
    return not unsettled


def _arrival(item: Item, now: datetime) -> UsageArrival:
    """An event that waited, judged by its first arrival."""
    [arrival] = parse(item["payload"].encode(), arrival=parse_rfc3339(item["received_at"]))
    arrival.waited = Key(item["pk"], item["sk"])
    if arrival.error is None and is_overdue(item, now):
        arrival.reject(missing_of(item).too_late)
    return arrival


def abandon(store: Store, *, now: datetime, out_of_time: Callable[[], bool] = lambda: False) -> int:
    """Rejects what waited too long; how many. What is left waits for the next run."""
    done = 0
    for found in _overdue(store, now):
        if out_of_time():
            break
        done += _abandon(store, found, now)
    return done


def listed_usage(store: Store, *, now: datetime) -> Iterator[Waiting]:
    """What waits, by the workspace or meter that it lacks, with the earliest arrival. Reads all of it."""
    marks = {}
    for back in range(KEPT.days + 1):
        for mark in store.query(Table.EVENTS, keys.waited(now - timedelta(days=back), "").pk):
            marks[mark["sk"]] = mark
    for partition, mark in sorted(marks.items()):
        arrivals = [item["received_at"] for item in store.query(Table.EVENTS, partition) if not is_overdue(item, now)]
        if arrivals:
            yield _listed(missing_of(mark), parse_rfc3339(min(arrivals)), len(arrivals))


def _listed(missing: Missing, since: datetime, count: int) -> Waiting:
    return Waiting(
        flow="usage",
        reason=missing.too_late.reason,
        message=f"there is no {'meter' if missing.meter else 'workspace'} {missing.meter or missing.workspace_id}",
        since=since,
        until=since + missing.patience,
        workspace_id=missing.workspace_id,
        count=count,
    )


def _overdue(store: Store, now: datetime) -> Iterator[Item]:
    """Of the days on which what waits now may have begun to."""
    for back in range(KEPT.days + 1):
        for mark in store.query(Table.EVENTS, keys.waited(now - timedelta(days=back), "").pk):
            if missing_of(mark).is_over(_beginning_of(now - timedelta(days=back)), now):
                found = store.query(Table.EVENTS, mark["sk"], consistent=True)
                yield from (item for item in found if is_overdue(item, now))


def _beginning_of(day: datetime) -> datetime:
    return day.replace(hour=0, minute=0, second=0, microsecond=0)


def _abandon(store: Store, found: Item, now: datetime) -> bool:
    """False when it was counted or rejected meanwhile."""
    [parsed] = parse(found["payload"].encode(), arrival=parse_rfc3339(found["received_at"]))
    event, why = parsed.event, missing_of(found).too_late
    reject = Reject(
        flow="usage",
        reason=why.reason,
        message=str(why),
        payload=found["payload"],
        event_id=event.id if event else None,
        source=event.source if event else None,
        workspace_id=found["workspace_id"],
    )
    gone = Delete(table=Table.EVENTS, key=Key(found["pk"], found["sk"]), expected=Present())
    fact = Key(found["sk"], keys.FACT)
    stored = store.get(Table.EVENTS, fact, consistent=True)
    is_counted = bool(stored and stored.get("payload_hash"))  # by somebody who died before he removed it
    unchanged = Check(table=Table.EVENTS, key=fact, expected=version_of(stored))
    try:
        store.commit([gone] if is_counted else [Put(table=Table.EVENTS, item=item(reject, now=now)), gone, unchanged])
    except Cancelled:
        return False
    return not is_counted


def _keep(batch: UsageBatch, chunk: Sequence[UsageArrival], missing: Missing) -> bool:
    """False when what was missing is known by now."""
    moments = {one.received_at.date(): one.received_at for one in chunk}.values()
    days = [waited(missing, received_at=at) for at in moments]
    pending, doubt = list(chunk), False

    def attempt() -> bool:
        nonlocal pending, doubt
        if doubt and batch.store.batch_get(Table.RECORDS, missing.records, consistent=True, attributes=("kind",)):
            return False
        pending = _not_waiting(batch, pending, missing) if doubt else pending
        if pending and not batch.expired:
            doubt = True
            puts = [_put(one, missing) for one in pending]
            moved = [check for check in still_waiting(pending) if check.key not in {put.key for put in puts}]
            _commit(batch, pending, [*puts, *days, *missing.checks, *moved])
            _waits(pending, missing)
        return True

    return batch.retry(attempt) is not False


def _commit(batch: UsageBatch, pending: Sequence[UsageArrival], writes: Sequence[Write]) -> None:
    try:
        batch.store.commit(writes)
    except Unavailable as error:
        note(pending, error)
        raise
    settle(pending, Outcome.WAITING)


def _put(one: UsageArrival, missing: Missing) -> Put:
    return waiting(one.valid, missing, payload=one.payload.decode(), received_at=one.received_at)


def _not_waiting(batch: UsageBatch, arrivals: Sequence[UsageArrival], missing: Missing) -> list[UsageArrival]:
    """Settles the arrivals that wait already and returns the others."""
    puts = [_put(one, missing) for one in arrivals]
    wanted = [put.key for put in puts]
    stored = batch.store.batch_get(Table.EVENTS, wanted, consistent=True, attributes=("payload_hash",))
    for one, put in zip(arrivals, puts, strict=True):
        if put.key in stored:
            one.settle_all(stored[put.key]["payload_hash"], Outcome.WAITING)
    _waits((one for one in arrivals if one.outcome is Outcome.WAITING), missing)
    batch.drop_abandoned(arrivals)
    return [one for one in arrivals if one.outcome is Outcome.FAILED]


def _waits(arrivals: Iterable[UsageArrival], missing: Missing) -> None:
    for one in arrivals:
        one.missing = missing
