"""Usage of a workspace that is not known yet: kept until it is.

What if the workspace is created at this very moment? The checks and the puts are one transaction: either the
creation finds what waits, or the puts are cancelled and the events are counted at once.

What if it never is? After 35 days each event becomes a reject in one transaction with its removal: whoever dies or is
late on the way leaves it waiting or rejected, never both and never neither.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from itertools import islice

from nilometer.aws.dynamodb import Store
from nilometer.domain.events.outcome import Outcome
from nilometer.domain.events.reject import Reject, item
from nilometer.domain.store import keys
from nilometer.domain.store.times import parse_rfc3339
from nilometer.domain.store.writes import Absent, Check, Delete, Item, Key, Present, Put, Table
from nilometer.domain.usage.event import KEPT, TOO_LATE, WAITS, check_wait, waited, waiting
from nilometer.errors import Cancelled, Rejected, Unavailable
from nilometer.flows.usage.counting import ATTEMPTS, UsageBatch
from nilometer.flows.usage.events import UsageArrival, note, parse, settle

TOGETHER = 90  # in one transaction; an event has at most 16 KB, a transaction 4 MB
PAGE = 500  # waiting events that are counted at a time


def wait(batch: UsageBatch, arrivals: Sequence[UsageArrival]) -> list[UsageArrival]:
    """Keeps events of one unknown workspace; returns the unsettled when the workspace is known by now."""
    for start in range(0, len(arrivals), TOGETHER):
        if not _keep(batch, arrivals[start : start + TOGETHER]):
            return [one for one in arrivals if one.outcome is Outcome.FAILED]
    return []


def count_waiting(
    batch: UsageBatch, workspace_id: str, settle_all: Callable[[Sequence[UsageArrival]], None]
) -> Outcome:
    """Counts what waited for a workspace that is known by now, then removes it: repeated after a crash, it finds facts
    and only removes. IGNORED when nothing waited, FAILED when something still does."""
    outcome = Outcome.IGNORED
    while page := _page(batch.store, workspace_id):
        outcome = Outcome.ACCEPTED
        if batch.expired or not _count_page(page, batch, settle_all):
            return Outcome.FAILED
    return outcome


def _page(store: Store, workspace_id: str) -> list[Item]:
    return list(islice(store.query(Table.EVENTS, keys.waiting(workspace_id, "", "").pk, consistent=True), PAGE))


def _count_page(items: Sequence[Item], batch: UsageBatch, settle_all: Callable[[Sequence[UsageArrival]], None]) -> bool:
    """True when the whole page is settled and gone."""
    arrivals = [_waited(item, batch.now) for item in items]
    settle_all(arrivals)
    unsettled = {one.waited for one in arrivals if one.outcome in {Outcome.FAILED, Outcome.WAITING}}
    gone = [key for item in items if (key := Key(item["pk"], item["sk"])) not in unsettled]
    batch.store.delete_all(Table.EVENTS, gone)
    return not unsettled


def _waited(item: Item, now: datetime) -> UsageArrival:
    """An event that waited, judged by its first arrival."""
    received_at = parse_rfc3339(item["received_at"])
    [arrival] = parse(item["payload"].encode(), arrival=received_at)
    arrival.waited = Key(item["pk"], item["sk"])
    try:
        if arrival.error is None:
            check_wait(received_at, now=now)
    except Rejected as error:
        arrival.reject(error)
    return arrival


def abandon(store: Store, *, now: datetime, out_of_time: Callable[[], bool] = lambda: False) -> int:
    """Rejects what waited too long, `unknown_workspace`; how many. What is left waits for the next run."""
    done = 0
    for found in _overdue(store, now):
        if out_of_time():
            break
        done += _abandon(store, found, now)
    return done


def _overdue(store: Store, now: datetime) -> Iterator[Item]:
    """Of the days on which what waits now may have begun to."""
    for back in range(WAITS.days, KEPT.days + 1):
        for mark in store.query(Table.EVENTS, keys.waited(now - timedelta(days=back), "").pk):
            for found in store.query(Table.EVENTS, mark["sk"], consistent=True):
                if now > parse_rfc3339(found["received_at"]) + WAITS:
                    yield found


def _abandon(store: Store, found: Item, now: datetime) -> bool:
    """False when it was counted or rejected meanwhile."""
    [parsed] = parse(found["payload"].encode(), arrival=parse_rfc3339(found["received_at"]))
    event = parsed.event
    reject = Reject(
        flow="usage",
        reason="unknown_workspace",
        message=TOO_LATE,
        payload=found["payload"],
        event_id=event.id if event else None,
        source=event.source if event else None,
        workspace_id=found["workspace_id"],
    )
    gone = Delete(table=Table.EVENTS, key=Key(found["pk"], found["sk"]), expected=Present())
    try:
        store.commit([Put(table=Table.EVENTS, item=item(reject, now=now)), gone])
    except Cancelled:
        return False
    return True


def _keep(batch: UsageBatch, chunk: Sequence[UsageArrival]) -> bool:
    """False when the workspace is known by now."""
    workspace_id = chunk[0].valid.workspace_id
    unknown = [
        Check(table=Table.RECORDS, key=key(workspace_id), expected=Absent()) for key in (keys.workspace, keys.billing)
    ]
    days = [
        waited(workspace_id, received_at=at)
        for at in {one.received_at.date(): one.received_at for one in chunk}.values()
    ]
    pending = list(chunk)
    for attempt in range(ATTEMPTS):
        if not pending or batch.expired:
            return True
        puts = [_put(one) for one in pending]
        try:
            batch.store.commit([*puts, *days, *unknown])
        except Unavailable as error:
            note(pending, error)
            batch.pause(attempt)
            if batch.known.tenants([workspace_id], fresh=True):
                return False
            pending = _not_waiting(batch, pending, puts)
        else:
            settle(pending, Outcome.WAITING)
            return True
    return True


def _put(one: UsageArrival) -> Put:
    event = one.valid
    return waiting(
        event.workspace_id,
        event.source,
        event.id,
        payload=one.payload.decode(),
        payload_hash=event.payload_hash,
        received_at=one.received_at,
    )


def _not_waiting(batch: UsageBatch, arrivals: Sequence[UsageArrival], puts: Sequence[Put]) -> list[UsageArrival]:
    """Settles the arrivals that wait already and returns the others."""
    wanted = [put.key for put in puts]
    stored = batch.store.batch_get(Table.EVENTS, wanted, consistent=True, attributes=("payload_hash",))
    for one, put in zip(arrivals, puts, strict=True):
        if put.key in stored:
            one.settle(stored[put.key]["payload_hash"], Outcome.WAITING)
    return [one for one in arrivals if one.outcome is Outcome.FAILED]
