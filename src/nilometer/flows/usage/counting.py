"""Usage events into facts and counters: one transaction a chunk, each event exactly once.

    pre-read ──▶ chunk: N facts if absent + counters ADD ──▶ stored
                   │ cancelled, or no answer
                   └▶ read the chunk's facts again, consistently; drop what is stored; others once more

What if the process dies after the commit? The facts are found when the messages come again. What if the
answer is lost? The same: facts and counters are one transaction, so a stored fact was counted. What if a slower worker
with the same events commits later? Its conditions fail on our facts, and it finds them when it reads again. A chunk
that one duplicate cancelled still holds new neighbours: cancelled never means that all were duplicates.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from nilometer.aws.dynamodb import Store
from nilometer.domain.events.outcome import Outcome
from nilometer.domain.store.writes import Check, Key, Present, Table, Write
from nilometer.domain.usage.counter import (
    CounterDelta,
    CounterName,
    StoredBefore,
    UsageGroup,
    chunks,
    counter_writes,
)
from nilometer.domain.usage.event import UsageEvent, fact
from nilometer.errors import Cancelled, Unavailable
from nilometer.flows.inbox.races import retrying
from nilometer.flows.usage.events import UsageArrival, note, settle
from nilometer.flows.usage.known import Known, Tenant

RESERVE_SECONDS = 3.0  # what a last transaction and the answer may take before Lambda's deadline

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageBatch:
    """What a batch shares while its arrivals are settled. `remaining` is the seconds until the process is stopped."""

    store: Store
    known: Known
    now: datetime
    remaining: Callable[[], float]

    @property
    def expired(self) -> bool:
        """Nothing new may be started."""
        return self.remaining() < RESERVE_SECONDS

    def retry(self, attempt: Callable[[], _T]) -> _T | None:
        """What `attempt` answers, or `None` when the engine did not answer in time: then the rest stays FAILED."""
        try:
            return retrying(attempt, on=Unavailable, until=lambda: self.expired)
        except Unavailable:
            return None

    def unstored(
        self, arrivals: Sequence[UsageArrival], *, consistent: bool, only: frozenset[int] | None = None
    ) -> list[UsageArrival]:
        """Settles the arrivals whose identity is stored, marks those whose void came first, returns the others.

        `only` are the positions to check; `None` checks all.
        """
        doubtful = [one for index, one in enumerate(arrivals) if only is None or index in only]
        wanted = [one.key for one in doubtful]
        stored = self.store.batch_get(Table.EVENTS, wanted, consistent=consistent, attributes=("payload_hash",))
        for one in doubtful:
            if one.key in stored:
                self._found(one, stored[one.key]["payload_hash"])
        if consistent:
            self.drop_abandoned(arrivals)
        return [one for one in arrivals if one.outcome is Outcome.FAILED and not one.buried]

    def drop_abandoned(self, arrivals: Sequence[UsageArrival]) -> None:
        """Settles the arrivals that waited and no longer do: somebody else counted or rejected them."""
        waited = [(one, one.waited) for one in arrivals if one.waited and one.outcome is Outcome.FAILED]
        wanted = [key for _, key in waited]
        found = self.store.batch_get(Table.EVENTS, wanted, consistent=True, attributes=("kind",))
        for one, key in waited:
            if key not in found:
                one.outcome = Outcome.DUPLICATE

    def _found(self, one: UsageArrival, payload_hash: str) -> None:
        if payload_hash:
            one.settle_all(payload_hash, Outcome.DUPLICATE)
        else:
            one.buried = True


def collapse(arrivals: Iterable[UsageArrival]) -> list[UsageArrival]:
    """The first of each identity; its copies hang on it. Another payload under the same identity too."""
    leaders: dict[Key, UsageArrival] = {}
    for one in arrivals:
        leader = leaders.setdefault(one.key, one)
        if leader is not one:
            leader.copies.append(one)
    return list(leaders.values())


def settle_copies(leader: UsageArrival) -> None:
    """Copies are duplicates of what was stored, or as wrong as the first; while that is not settled they come again
    with it. Another payload than that of a rejected one is left to be judged by itself."""
    for copy in leader.copies:
        if leader.outcome in {Outcome.ACCEPTED, Outcome.DUPLICATE}:
            copy.settle(leader.valid.payload_hash, Outcome.DUPLICATE)
        elif leader.outcome is Outcome.WAITING:
            copy.settle(leader.valid.payload_hash, Outcome.WAITING)
        elif leader.error and copy.valid.payload_hash == leader.valid.payload_hash:
            copy.reject(leader.error)


def unjudged(arrivals: Iterable[UsageArrival]) -> list[UsageArrival]:
    """Copies of what was rejected that have no outcome yet."""
    rejected = (one for one in arrivals if one.outcome is Outcome.REJECTED)
    return [copy for one in rejected for copy in one.copies if copy.outcome is Outcome.FAILED]


def by_workspace(arrivals: Iterable[UsageArrival]) -> list[list[UsageArrival]]:
    """Those of one workspace together, in their order."""
    groups: dict[str, list[UsageArrival]] = {}
    for one in arrivals:
        groups.setdefault(one.valid.workspace_id, []).append(one)
    return list(groups.values())


def count_together(batch: UsageBatch, group: UsageGroup, arrivals: Sequence[UsageArrival], tenant: Tenant) -> None:
    """Counts new events of one group, up to some 95 a transaction; what is not settled in time stays FAILED."""
    by_event = {id(one.event): one for one in arrivals}
    events = [one.event for one in arrivals if isinstance(one.event, UsageEvent)]
    each = 2 if any(one.waited for one in arrivals) else 1  # a fact, and a check that the event still waits
    for chunk in chunks(group, events, each=each):
        _count_chunk(batch, group, [by_event[id(event)] for event in chunk], tenant)


def _count_chunk(batch: UsageBatch, group: UsageGroup, chunk: list[UsageArrival], tenant: Tenant) -> None:
    pending, shard = chunk, random.randrange(tenant.shards)
    doubt: Unavailable | None = None

    def attempt() -> None:
        nonlocal pending, shard, doubt
        if doubt:
            pending = batch.unstored(pending, consistent=True, only=_doubtful(pending, doubt))
            shard = _another(shard, tenant.shards)
        if not pending or batch.expired:
            return
        try:
            batch.store.commit(counting_writes(batch, group, pending, shard))
        except Unavailable as error:
            note(pending, error)
            doubt = error
            raise
        settle(pending, Outcome.ACCEPTED)

    batch.retry(attempt)


def counting_writes(batch: UsageBatch, group: UsageGroup, chunk: Sequence[UsageArrival], shard: int) -> list[Write]:
    """The facts first, in the order of the chunk, so that a cancellation names the event."""
    events = [(one.event, one.received_at) for one in chunk if isinstance(one.event, UsageEvent)]
    facts = [fact(event, group.period, received_at=received_at, now=batch.now) for event, received_at in events]
    deltas = group.deltas(event for event, _ in events)
    seen = _seen(batch, group, deltas, shard)
    cause = chunk[-1].valid.id
    counters = counter_writes(group, deltas, seen, shard=shard, cause=cause, now=batch.now)
    return [*facts, *counters, *still_waiting(chunk)]


def still_waiting(arrivals: Iterable[UsageArrival]) -> list[Check]:
    """That what waited still does, for the transaction that settles it: whoever gives it up meanwhile cancels this."""
    return [Check(table=Table.EVENTS, key=one.waited, expected=Present()) for one in arrivals if one.waited]


def _seen(batch: UsageBatch, group: UsageGroup, deltas: Mapping[CounterName, CounterDelta], shard: int) -> StoredBefore:
    """Levels and values as they are, so that what is unchanged needs no condition that could fail."""
    counters = {group.counter(name, shard): name for name in deltas if group.reads_before(name)}
    values = [group.value_key(name, value) for name, delta in deltas.items() for value in delta.values]
    found = batch.store.batch_get(Table.RECORDS, counters, consistent=True) if counters else {}
    stored = batch.store.batch_get(Table.EVENTS, values, consistent=True, attributes=("kind",)) if values else {}
    return StoredBefore({counters[key]: item for key, item in found.items()}, stored.keys())


def _doubtful(chunk: Sequence[UsageArrival], error: Unavailable) -> frozenset[int] | None:
    """Positions of the facts that failed their condition; `None` (all) when anything else may have happened."""
    if not isinstance(error, Cancelled) or set(error.reasons) - {"None", "ConditionalCheckFailed"}:
        return None
    return frozenset(index for index in error.condition_failed if index < len(chunk))


def _another(shard: int, shards: int) -> int:
    return (shard + random.randrange(1, shards)) % shards if shards > 1 else 0
