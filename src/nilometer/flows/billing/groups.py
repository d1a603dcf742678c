"""The groups of a batch: read together, decided one by one, committed together, alone when a race is lost; then the
facts of what is stored."""

from __future__ import annotations

import random
import time
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import NamedTuple, Protocol

from nilometer.aws.dynamodb import TRANSACTION_LIMIT, Store
from nilometer.domain.billing.group import Group, Torn
from nilometer.domain.billing.plan import Plan
from nilometer.domain.events.outcome import Outcome
from nilometer.domain.store.times import rfc3339
from nilometer.domain.store.writes import Check, Item, Key, Put, Table, Update, Write
from nilometer.domain.stripe.event import Scope
from nilometer.errors import Cancelled, Rejected, Unavailable
from nilometer.flows.billing.catalog import CATALOG
from nilometer.flows.billing.packing import Pack
from nilometer.flows.billing.task import Task

ATTEMPTS = 8
GROUP_EVENTS = 25  # of one customer decided together: each may need its fact, a register and more

Tasks = Sequence[Task]


class Batch(Protocol):
    """What the groups need of the batch that they are of."""

    store: Store
    now: datetime

    def reject(self, task: Task, error: Rejected) -> None: ...
    def without_duplicates(self, tasks: Tasks, *, consistent: bool) -> list[Task]: ...


class _Decided(NamedTuple):
    """A group whose writes are on their way, with what goes before them and what follows."""

    tasks: Tasks
    uses: Sequence[Item]
    facts: Sequence[Item]


class Committer:
    def __init__(self, batch: Batch, tasks: Tasks) -> None:
        self.batch = batch
        self.tasks = tasks
        self.known: dict[Key, Item | None] = {}
        self.pack: Pack[_Decided] = Pack()

    def run(self) -> None:
        groups = grouped(self.batch.without_duplicates(self.tasks, consistent=False))
        plans = self._load([self._group(tasks) for tasks in groups])
        for tasks, plan in zip(groups, plans, strict=True):
            try:
                self._add(tasks, plan)
            except Unavailable:
                self._alone(tasks)
        self._flush()

    def _group(self, tasks: Tasks) -> Group:
        event = tasks[0].event
        kind, owner = tasks[0].owner
        return Group(
            scope=event.scope,
            customer_id=owner if kind == "customer" else None,
            evidence=tuple(task.evidence for task in tasks),
            updated_at=rfc3339(self.batch.now),
        )

    def _load(self, groups: Sequence[Group], *, consistent: bool = False) -> list[Plan]:
        """Reads in rounds: what a link names is known only when the link is."""
        plans = [Plan(group, self.known) for group in groups]
        while missing := {key for plan in plans for key in plan.missing}:
            found = self.batch.store.batch_get(Table.RECORDS, missing, consistent=consistent)
            self.known |= {key: found.get(key) for key in missing}
            plans = [Plan(plan.group, self.known) if plan.missing else plan for plan in plans]
        return plans

    def _add(self, tasks: Tasks, plan: Plan) -> None:
        if self.pack.touches(plan.keys):
            self._flush()
        if plan.stale(self.known):
            [plan] = self._load([plan.group])
        writes = plan.writes()
        if len(writes) > TRANSACTION_LIMIT:
            self._alone(tasks)
            return
        if not self.pack.fits(writes):
            self._flush()
        self.pack.add(_Decided(tasks, plan.uses(), plan.facts()), writes)

    def _flush(self) -> None:
        pack, self.pack = self.pack, Pack()
        if not pack.groups:
            return
        try:
            self.batch.store.put_all(Table.RECORDS, [use for group in pack.groups for use in group.uses])
            self.batch.store.commit(pack.writes)
        except (Cancelled, Rejected):
            self._forget(pack.written)
            for group in pack.groups:
                self._alone(group.tasks)
        except Exception as error:  # noqa: BLE001  # whether it landed is unknown: delivered again, it changes nothing
            self._forget(pack.written)
            _fail((group.tasks for group in pack.groups), error)
        else:
            self._remember(pack.writes)
            self._settle(pack.groups)

    def _settle(self, groups: Sequence[_Decided]) -> None:
        """Their effect is stored, so that their facts may be."""
        try:
            self.batch.store.put_all(Table.EVENTS, [fact for group in groups for fact in group.facts])
        except Exception as error:  # noqa: BLE001  # delivered again, they change nothing and the facts are put again
            _fail((group.tasks for group in groups), error)
        else:
            _accept(group.tasks for group in groups)

    def _alone(self, tasks: Tasks) -> None:
        """One group by itself, read consistently, as often as it takes within reason."""
        try:
            self._retry(tasks)
        except Rejected as error:
            self._split(tasks, error)
        except Exception as error:  # noqa: BLE001  # the other groups must pass
            _fail([tasks], error)

    def _retry(self, tasks: Tasks) -> None:
        for attempt in range(ATTEMPTS):
            fresh = self.batch.without_duplicates([t for t in tasks if t.outcome is None], consistent=True)
            if not fresh:
                return
            try:
                decided = self._commit_fresh(fresh)
            except (Cancelled, Torn):
                if attempt == ATTEMPTS - 1:
                    raise
                time.sleep(random.uniform(0, 0.01 * 2**attempt))
            else:
                self._settle([decided])
                return

    def _commit_fresh(self, tasks: Tasks) -> _Decided:
        """All but the facts, which follow."""
        group = self._group(tasks)
        self._forget(Plan(group, self.known).keys)
        [plan] = self._load([group], consistent=True)
        writes = plan.writes()
        if len(writes) > TRANSACTION_LIMIT:
            raise Rejected("too_large", f"{len(writes)} items change together; DynamoDB takes {TRANSACTION_LIMIT}")
        self.batch.store.put_all(Table.RECORDS, plan.uses())
        self.batch.store.commit(writes)
        self._remember(writes)
        return _Decided(tasks, (), plan.facts())

    def _split(self, tasks: Tasks, error: Rejected) -> None:
        """DynamoDB refuses the group for good: find the event that is the reason."""
        waiting = [task for task in tasks if task.outcome is None]
        if len(waiting) == 1:
            self.batch.reject(waiting[0], error)
            return
        for task in waiting:
            self._alone([task])

    def _remember(self, writes: Iterable[Write]) -> None:
        for write in writes:
            if isinstance(write, Put) and write.table is Table.RECORDS:
                self.known[write.key] = write.item
            elif isinstance(write, Update):
                self.known.pop(write.key, None)
            elif not isinstance(write, Put | Check):
                self.known[write.key] = None

    def _forget(self, keys: Iterable[Key]) -> None:
        for key in keys:
            self.known.pop(key, None)


def grouped(tasks: Tasks) -> list[Tasks]:
    """By customer, or by object when there is none; catalog first, so that new subscriptions find it."""
    groups: dict[tuple[Scope, str, str], list[Task]] = {}
    for task in tasks:
        groups.setdefault((task.event.scope, *task.owner), []).append(task)
    ordered = sorted(groups.values(), key=lambda together: together[0].event.object_type not in CATALOG)
    return [chunk for together in ordered for chunk in _chunks(together)]


def _chunks(tasks: Tasks) -> Iterator[Tasks]:
    ordered = sorted(tasks, key=lambda task: task.event.created)
    yield from (ordered[start : start + GROUP_EVENTS] for start in range(0, len(ordered), GROUP_EVENTS))


def _accept(groups: Iterable[Tasks]) -> None:
    for tasks in groups:
        for task in tasks:
            task.settle(Outcome.ACCEPTED)


def _fail(groups: Iterable[Tasks], error: Exception) -> None:
    for tasks in groups:
        for task in tasks:
            if task.outcome is None:
                task.fail(error)
