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
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from nilometer.aws.dynamodb import Store
from nilometer.domain import keys
from nilometer.domain.counter import Group, Name, Tally, chunks, counter_writes, is_gauge, key_of
from nilometer.domain.outcome import Outcome
from nilometer.domain.period import Period, period_at
from nilometer.domain.usage import UsageEvent, fact, waiting
from nilometer.domain.writes import Absent, Check, Item, Key, Put, Table, Write
from nilometer.errors import Cancelled, Rejected, Unavailable
from nilometer.flows.known import Known, Tenant

ATTEMPTS = 12
RESERVE_SECONDS = 3.0  # what a last transaction and the answer may take before Lambda's deadline
WAITING_TOGETHER = 90

REUSED = "this source and id came before with another payload; give each fact its own id"


@dataclass(slots=True, eq=False)
class Candidate:
    """One valid event on its way. Until it is settled its outcome is FAILED: it comes again."""

    event: UsageEvent
    payload: bytes
    received_at: datetime
    waited: Key | None = None
    """The item in which it waited for its workspace."""
    outcome: Outcome = Outcome.FAILED
    error: Rejected | None = None
    failure: str = ""
    """Why it is not settled, for the log."""
    twins: list[Candidate] = field(default_factory=list)
    """Copies of the same event in this batch."""

    @property
    def key(self) -> Key:
        return keys.usage_event(self.event.source, self.event.id)

    def settle(self, stored_hash: str, outcome: Outcome) -> None:
        """Its identity is stored already: with this payload, or with another one."""
        if stored_hash == self.event.payload_hash:
            self.outcome = outcome
        else:
            self.reject(Rejected("id_reuse", REUSED))

    def reject(self, error: Rejected) -> None:
        self.outcome, self.error = Outcome.REJECTED, error


@dataclass(frozen=True, slots=True, kw_only=True)
class Counting:
    """The dependencies of one batch. `remaining` is the seconds until the process is stopped."""

    store: Store
    known: Known
    now: datetime
    remaining: Callable[[], float]

    def count(self, candidates: Sequence[Candidate]) -> None:
        """Settles every candidate that time and the tables allow; the others stay FAILED."""
        leaders = _collapse(candidates)
        new = self._unstored(leaders, consistent=False)
        tenants = self.known.tenants(one.event.workspace_id for one in new)
        unknown = [one for one in new if one.event.workspace_id not in tenants]
        self._count_known([one for one in new if one.event.workspace_id in tenants])
        for lonely in _by_workspace(unknown):
            self._count_known(self._wait(lonely))
        for leader in leaders:
            _settle_twins(leader)

    def _count_known(self, candidates: Sequence[Candidate]) -> None:
        tenants = self.known.tenants(one.event.workspace_id for one in candidates)
        meters = self.known.meters(one.event.meter for one in candidates)
        aggregations = {slug: meter.aggregation for slug, meter in meters.items()}
        groups: dict[tuple[str, Period], list[Candidate]] = {}
        for one in candidates:
            tenant = tenants[one.event.workspace_id]
            groups.setdefault((tenant.workspace_id, period_at(tenant.billing, one.event.time)), []).append(one)
        for (workspace_id, period), members in groups.items():
            try:
                self._count_group(Group(workspace_id, period, aggregations), members, tenants[workspace_id])
            except Exception as error:  # noqa: BLE001  # the neighbours must pass; these come again
                _note(members, error)

    def _count_group(self, group: Group, members: Sequence[Candidate], tenant: Tenant) -> None:
        by_event = {id(one.event): one for one in members}
        for chunk in chunks(group, [one.event for one in members]):
            self._count_chunk(group, [by_event[id(event)] for event in chunk], tenant)

    def _count_chunk(self, group: Group, chunk: list[Candidate], tenant: Tenant) -> None:
        pending = chunk
        shard = random.randrange(tenant.shards)
        for attempt in range(ATTEMPTS):
            if not pending or self.remaining() < RESERVE_SECONDS:
                return None
            try:
                self.store.commit(self._writes(group, pending, shard))
            except Rejected as error:
                return self._split(group, pending, tenant, error)
            except Unavailable as error:
                _note(pending, error)
                self._pause(attempt)
                pending = self._unstored(pending, consistent=True, only=_doubtful(pending, error))
                shard = _another(shard, tenant.shards)
            else:
                return _settle(pending, Outcome.ACCEPTED)
        return None

    def _split(self, group: Group, chunk: list[Candidate], tenant: Tenant, error: Rejected) -> None:
        """DynamoDB refused the transaction for good: find the event that it refuses."""
        if len(chunk) == 1:
            return chunk[0].reject(error)
        middle = len(chunk) // 2
        for half in (chunk[:middle], chunk[middle:]):
            self._count_chunk(group, half, tenant)
        return None

    def _writes(self, group: Group, chunk: Sequence[Candidate], shard: int) -> list[Write]:
        """The facts first, in the order of the chunk, so that a cancellation names the event."""
        facts = [fact(one.event, group.period, received_at=one.received_at, now=self.now) for one in chunk]
        tallies = group.tallies(one.event for one in chunk)
        levels = self._levels(group, tallies, shard)
        cause = chunk[-1].event.id
        return [*facts, *counter_writes(group, tallies, levels, shard=shard, cause=cause, now=self.now)]

    def _levels(self, group: Group, tallies: dict[Name, Tally], shard: int) -> dict[Name, Item]:
        """Gauges as they are: an unchanged level then needs no condition that could fail."""
        wanted = {key_of(group, name, shard): name for name in tallies if is_gauge(group, name)}
        found = self.store.batch_get(Table.RECORDS, wanted, consistent=True) if wanted else {}
        return {wanted[key]: item for key, item in found.items()}

    def _unstored(
        self, candidates: Sequence[Candidate], *, consistent: bool, only: frozenset[int] | None = None
    ) -> list[Candidate]:
        """Settles the candidates whose facts are stored and returns the others. `only` are positions worth a look."""
        doubtful = [one for index, one in enumerate(candidates) if only is None or index in only]
        stored = self.store.batch_get(
            Table.EVENTS, [one.key for one in doubtful], consistent=consistent, attributes=("payload_hash",)
        )
        for one in doubtful:
            if one.key in stored:
                one.settle(stored[one.key]["payload_hash"], Outcome.DUPLICATE)
        return [one for one in candidates if one.outcome is Outcome.FAILED]

    def _wait(self, candidates: list[Candidate]) -> list[Candidate]:
        """Keeps events of one unknown workspace until it is known; returns all of them when it is known by now."""
        for start in range(0, len(candidates), WAITING_TOGETHER):
            if not self._keep_waiting(candidates[start : start + WAITING_TOGETHER]):
                return [one for one in candidates if one.outcome is Outcome.FAILED]
        return []

    def _keep_waiting(self, chunk: list[Candidate]) -> bool:
        """False when the workspace is known by now. The checks and the puts are one transaction: who creates the
        workspace afterwards finds everything that waits for it."""
        workspace_id = chunk[0].event.workspace_id
        checks = [
            Check(table=Table.RECORDS, key=key(workspace_id), expected=Absent())
            for key in (keys.workspace, keys.billing)
        ]
        pending = chunk
        for attempt in range(ATTEMPTS):
            if not pending or self.remaining() < RESERVE_SECONDS:
                return True
            puts = [self._waiting(one) for one in pending]
            try:
                self.store.commit([*puts, *checks])
            except Unavailable as error:
                _note(pending, error)
                self._pause(attempt)
                if self.known.tenants([workspace_id], fresh=True):
                    return False
                pending = self._not_waiting(pending, puts)
            else:
                _settle(pending, Outcome.WAITING)
                return True
        return True

    def _waiting(self, one: Candidate) -> Put:
        return waiting(one.event, one.payload.decode(), received_at=one.received_at)

    def _not_waiting(self, candidates: Sequence[Candidate], puts: Sequence[Put]) -> list[Candidate]:
        """Settles the candidates that wait already and returns the others."""
        stored = self.store.batch_get(
            Table.EVENTS, [put.key for put in puts], consistent=True, attributes=("payload_hash",)
        )
        for one, put in zip(candidates, puts, strict=True):
            if put.key in stored:
                one.settle(stored[put.key]["payload_hash"], Outcome.WAITING)
        return [one for one in candidates if one.outcome is Outcome.FAILED]

    def _pause(self, attempt: int) -> None:
        """Full jitter from 20 ms up to 1 s."""
        time.sleep(min(random.uniform(0, min(0.02 * 2**attempt, 1.0)), max(0.0, self.remaining())))


def _collapse(candidates: Iterable[Candidate]) -> list[Candidate]:
    """The first of each identity; its copies hang on it. Another payload under the same identity too."""
    leaders: dict[Key, Candidate] = {}
    for one in candidates:
        leader = leaders.setdefault(one.key, one)
        if leader is not one:
            leader.twins.append(one)
    return list(leaders.values())


def _settle_twins(leader: Candidate) -> None:
    """Copies are duplicates of what was stored; while the first is not settled they come again with it."""
    for twin in leader.twins:
        if leader.outcome in {Outcome.ACCEPTED, Outcome.DUPLICATE}:
            twin.settle(leader.event.payload_hash, Outcome.DUPLICATE)
        elif leader.outcome is Outcome.WAITING:
            twin.settle(leader.event.payload_hash, Outcome.WAITING)


def _settle(candidates: Iterable[Candidate], outcome: Outcome) -> None:
    for one in candidates:
        one.outcome = outcome


def _note(candidates: Iterable[Candidate], error: Exception) -> None:
    """Our own messages are safe to log; of a stranger's error only its name is."""
    for one in candidates:
        one.failure = str(error) if isinstance(error, Unavailable) else type(error).__name__


def _doubtful(chunk: Sequence[Candidate], error: Unavailable) -> frozenset[int] | None:
    """Positions of the facts that failed their condition; `None` (all) when anything else may have happened."""
    if not isinstance(error, Cancelled) or set(error.reasons) - {"None", "ConditionalCheckFailed"}:
        return None
    return frozenset(index for index in error.condition_failed if index < len(chunk))


def _another(shard: int, shards: int) -> int:
    return (shard + random.randrange(1, shards)) % shards if shards > 1 else 0


def _by_workspace(candidates: Iterable[Candidate]) -> list[list[Candidate]]:
    groups: dict[str, list[Candidate]] = {}
    for one in candidates:
        groups.setdefault(one.event.workspace_id, []).append(one)
    return list(groups.values())
