"""Usage events into facts and counters: one transaction a chunk, each event exactly once.

    pre-read ──▶ chunk: N facts if absent + counters ADD ──▶ stored
                   │ cancelled, or no answer
                   └▶ read the chunk's facts again, consistently; drop what is stored; others once more

What if the process dies after the commit? The facts are found when the messages come again. What if the
answer is lost? The same: facts and counters are one transaction, so a stored fact was counted. What if a slow
twin commits later? Its conditions fail on our facts, and it finds them when it reads again. A chunk that one
duplicate cancelled still holds new neighbours: cancelled never means that all were duplicates.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

from nilometer.domain.events.outcome import Outcome
from nilometer.domain.limits.reservation import Status, ended, settles
from nilometer.domain.store import keys
from nilometer.domain.store.writes import Table, Write
from nilometer.domain.usage.counter import Group, Name, Seen, Tally, chunks, counter_writes
from nilometer.domain.usage.event import UsageEvent, fact
from nilometer.domain.usage.period import Period, period_at
from nilometer.domain.usage.void import VoidEvent
from nilometer.errors import Cancelled, Rejected, Unavailable
from nilometer.flows.usage.candidate import (
    ATTEMPTS,
    Batch,
    Candidate,
    by_workspace,
    collapse,
    note,
    settle,
    settle_twins,
)
from nilometer.flows.usage.known import Tenant
from nilometer.flows.usage.voiding import bury, take_back
from nilometer.flows.usage.waiting import wait


def count(batch: Batch, candidates: Sequence[Candidate]) -> None:
    """Settles every candidate that time and the tables allow; the others stay FAILED.

    Voids come last, so that they find what they take back when it is in the same batch.
    """
    leaders = collapse(candidates)
    new = [one for one in batch.unstored(leaders, consistent=False) if not one.buried]
    buried = [one for one in leaders if one.buried]
    tenants = batch.known.tenants(one.event.workspace_id for one in new + buried)
    _count_known(batch, [one for one in new + buried if one.event.workspace_id in tenants])
    for lonely in by_workspace(one for one in new + buried if one.event.workspace_id not in tenants):
        _count_known(batch, wait(batch, lonely))
    for leader in leaders:
        settle_twins(leader)


def _count_known(batch: Batch, candidates: Sequence[Candidate]) -> None:
    tenants = batch.known.tenants(one.event.workspace_id for one in candidates)
    meters = batch.known.meters(one.event.meter for one in candidates if isinstance(one.event, UsageEvent))
    groups: dict[tuple[str, Period], list[Candidate]] = {}
    for one in candidates:
        if isinstance(one.event, UsageEvent):
            period = period_at(tenants[one.event.workspace_id].billing, one.event.time)
            groups.setdefault((one.event.workspace_id, period), []).append(one)
    for (workspace_id, period), members in groups.items():
        try:
            _count_group(batch, Group(workspace_id, period, meters), members, tenants[workspace_id])
        except Exception as error:  # noqa: BLE001  # the neighbours must pass; these come again
            note(members, error)
    for one in candidates:
        if isinstance(one.event, VoidEvent):
            _take_back(batch, one, tenants[one.event.workspace_id])


def _take_back(batch: Batch, one: Candidate, tenant: Tenant) -> None:
    try:
        take_back(batch, one, tenant)
    except Exception as error:  # noqa: BLE001  # the neighbours must pass; this one comes again
        one.note(error)


def _count_group(batch: Batch, group: Group, members: Sequence[Candidate], tenant: Tenant) -> None:
    by_event = {
        id(one.event): one for one in members if not one.buried and not _settle_reserved(batch, group, one, tenant)
    }
    events = [one.event for one in by_event.values() if isinstance(one.event, UsageEvent)]
    for chunk in chunks(group, events):
        _count_chunk(batch, group, [by_event[id(event)] for event in chunk], tenant)
    for one in members:
        if one.buried and one.outcome is Outcome.FAILED:
            bury(batch, one, group)


def _settle_reserved(batch: Batch, group: Group, one: Candidate, tenant: Tenant) -> bool:
    """Counts an event and settles the reservation that it names, in one transaction. False: count it like any other,
    because it names none, or one that has ended."""
    event = one.event
    if not isinstance(event, UsageEvent) or event.reservation_id is None:
        return False
    key = keys.reservation(event.workspace_id, event.reservation_id)
    for attempt in range(ATTEMPTS):
        reservation = batch.store.get(Table.RECORDS, key, consistent=True)
        if reservation is None or not settles(reservation, event) or batch.expired:
            return False
        same = reservation["period_start"] == group.start
        settled = ended(reservation, Status.SETTLED, now=batch.now, used=event, same_period=same)
        try:
            batch.store.commit([*_writes(batch, group, [one], random.randrange(tenant.shards)), *settled])
        except Unavailable as error:
            one.note(error)
            batch.pause(attempt)
            if not batch.unstored([one], consistent=True):
                return True
        else:
            one.outcome = Outcome.ACCEPTED
            return True
    return False


def _count_chunk(batch: Batch, group: Group, chunk: list[Candidate], tenant: Tenant) -> None:
    pending = chunk
    shard = random.randrange(tenant.shards)
    for attempt in range(ATTEMPTS):
        if not pending or batch.expired:
            return
        try:
            batch.store.commit(_writes(batch, group, pending, shard))
        except Rejected as error:
            _split(batch, group, pending, tenant, error)
            return
        except Unavailable as error:
            note(pending, error)
            batch.pause(attempt)
            pending = batch.unstored(pending, consistent=True, only=_doubtful(pending, error))
            shard = _another(shard, tenant.shards)
        else:
            settle(pending, Outcome.ACCEPTED)
            return


def _split(batch: Batch, group: Group, chunk: list[Candidate], tenant: Tenant, error: Rejected) -> None:
    """DynamoDB refused the transaction for good: find the event that it refuses."""
    if len(chunk) == 1:
        chunk[0].reject(error)
        return
    middle = len(chunk) // 2
    for half in (chunk[:middle], chunk[middle:]):
        _count_chunk(batch, group, half, tenant)


def _writes(batch: Batch, group: Group, chunk: Sequence[Candidate], shard: int) -> list[Write]:
    """The facts first, in the order of the chunk, so that a cancellation names the event."""
    events = [(one.event, one.received_at) for one in chunk if isinstance(one.event, UsageEvent)]
    facts = [fact(event, group.period, received_at=received_at, now=batch.now) for event, received_at in events]
    tallies = group.tallies(event for event, _ in events)
    seen = _seen(batch, group, tallies, shard)
    cause = chunk[-1].event.id
    return [*facts, *counter_writes(group, tallies, seen, shard=shard, cause=cause, now=batch.now)]


def _seen(batch: Batch, group: Group, tallies: Mapping[Name, Tally], shard: int) -> Seen:
    """Levels and values as they are, so that what is unchanged needs no condition that could fail."""
    counters = {group.counter(name, shard): name for name in tallies if group.reads_before(name)}
    values = [group.value_key(name, value) for name, tally in tallies.items() for value in tally.values]
    found = batch.store.batch_get(Table.RECORDS, counters, consistent=True) if counters else {}
    stored = batch.store.batch_get(Table.EVENTS, values, consistent=True, attributes=("kind",)) if values else {}
    return Seen({counters[key]: item for key, item in found.items()}, stored.keys())


def _doubtful(chunk: Sequence[Candidate], error: Unavailable) -> frozenset[int] | None:
    """Positions of the facts that failed their condition; `None` (all) when anything else may have happened."""
    if not isinstance(error, Cancelled) or set(error.reasons) - {"None", "ConditionalCheckFailed"}:
        return None
    return frozenset(index for index in error.condition_failed if index < len(chunk))


def _another(shard: int, shards: int) -> int:
    return (shard + random.randrange(1, shards)) % shards if shards > 1 else 0
