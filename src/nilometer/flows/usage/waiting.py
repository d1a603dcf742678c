"""Usage of a workspace that is not known yet: kept until it is.

What if the workspace is created at this very moment? The checks and the puts are one transaction: either the
creation finds what waits, or the puts are cancelled and the events are counted at once.

What if it never is? After 35 days each event becomes a reject in one transaction with its removal: whoever dies or is
late on the way leaves it waiting or rejected, never both and never neither.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta

from nilometer.aws.dynamodb import Store
from nilometer.domain.events.outcome import Outcome
from nilometer.domain.events.reject import Reject, item
from nilometer.domain.store import keys
from nilometer.domain.store.times import parse_rfc3339
from nilometer.domain.store.writes import Absent, Check, Delete, Item, Key, Present, Put, Table
from nilometer.domain.usage.event import KEPT, TOO_LATE, WAITS, waited, waiting
from nilometer.errors import Cancelled, Unavailable
from nilometer.flows.usage.candidate import ATTEMPTS, Batch, Candidate, note, settle
from nilometer.flows.usage.events import parse

TOGETHER = 90  # in one transaction; an event has at most 16 KB, a transaction 4 MB


def wait(batch: Batch, candidates: Sequence[Candidate]) -> list[Candidate]:
    """Keeps events of one unknown workspace; returns the unsettled when the workspace is known by now."""
    for start in range(0, len(candidates), TOGETHER):
        if not _keep(batch, candidates[start : start + TOGETHER]):
            return [one for one in candidates if one.outcome is Outcome.FAILED]
    return []


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


def _keep(batch: Batch, chunk: Sequence[Candidate]) -> bool:
    """False when the workspace is known by now."""
    workspace_id = chunk[0].event.workspace_id
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


def _put(one: Candidate) -> Put:
    event = one.event
    return waiting(
        event.workspace_id,
        event.source,
        event.id,
        payload=one.payload.decode(),
        payload_hash=event.payload_hash,
        received_at=one.received_at,
    )


def _not_waiting(batch: Batch, candidates: Sequence[Candidate], puts: Sequence[Put]) -> list[Candidate]:
    """Settles the candidates that wait already and returns the others."""
    wanted = [put.key for put in puts]
    stored = batch.store.batch_get(Table.EVENTS, wanted, consistent=True, attributes=("payload_hash",))
    for one, put in zip(candidates, puts, strict=True):
        if put.key in stored:
            one.settle(stored[put.key]["payload_hash"], Outcome.WAITING)
    return [one for one in candidates if one.outcome is Outcome.FAILED]
