"""Billing: Stripe events into registers and billing records, then each event's fact.

A batch costs two reads, however many events it holds: the facts and the records that its groups need; then
transactions of as many groups as fit, and the facts of what they stored. A group that loses a race is read again,
consistently, and tried alone.

What if the process dies between an effect and its fact? The message comes again, finds no fact, and changes nothing:
a register takes the same event as often as it comes. What if it dies after both? The fact is found.
What if it dies between a product's register and the records that use the product? The message was not answered,
comes again as a duplicate, and the users are folded again. What if a slow twin commits an older read? Its
versions have moved; nothing of it is written.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from nilometer.aws.dynamodb import Store
from nilometer.aws.s3 import Objects
from nilometer.domain.billing.record.inputs import catalog_name
from nilometer.domain.events.outcome import Message, Outcome, Result
from nilometer.domain.events.reject import Reject
from nilometer.domain.store.writes import Key, Table
from nilometer.errors import Rejected
from nilometer.flows.billing.catalog import CATALOG, refold
from nilometer.flows.billing.groups import Committer
from nilometer.flows.billing.task import Task
from nilometer.flows.inbox.rejects import keep


def handle(messages: Sequence[Message], *, store: Store, objects: Objects, now: datetime) -> list[Result]:
    """One result a message, in their order; a failure of one does not touch other customers."""
    batch = _Batch(store, objects, now)
    tasks = [Task(message, objects, now) for message in messages]
    batch.run(tasks)
    return [Result(message_id=t.message.id, outcome=t.outcome or Outcome.FAILED, fields=t.fields) for t in tasks]


class _Batch:
    def __init__(self, store: Store, objects: Objects, now: datetime) -> None:
        self.store = store
        self.objects = objects
        self.now = now

    def run(self, tasks: Sequence[Task]) -> None:
        for task in tasks:
            self._open(task)
        waiting = [task for task in tasks if task.outcome is None]
        try:
            Committer(self, waiting).run()
        except Exception as error:  # noqa: BLE001  # whatever was not settled is delivered again
            for task in waiting:
                if task.outcome is None:
                    task.fail(error)
        self._refold(waiting)

    def _open(self, task: Task) -> None:
        try:
            event = task.event
            task.fields |= {"event_id": event.id, "type": event.type, "account": event.scope.account}
        except Rejected as error:
            self.reject(task, error)
        except Exception as error:  # noqa: BLE001  # the neighbours must pass; this one comes again
            task.fail(error)

    def reject(self, task: Task, error: Rejected) -> None:
        """Kept with its reason, or delivered again when it cannot be kept."""
        reject = Reject(
            flow="billing",
            reason=error.reason,
            message=str(error),
            payload=task.message.body,
            event_id=str(task.fields["event_id"]) if "event_id" in task.fields else None,
        )
        try:
            keep(self.store, self.objects, [reject], now=self.now)
            task.settle(Outcome.REJECTED, reason=error.reason)
        except Exception as failure:  # noqa: BLE001  # not kept: it must come again
            task.fail(failure)

    def without_duplicates(self, tasks: Sequence[Task], *, consistent: bool) -> list[Task]:
        """The first of each event that no fact knows; the others are settled."""
        stored = self.store.batch_get(
            Table.EVENTS, [task.fact_key for task in tasks], consistent=consistent, attributes=("version",)
        )
        first: dict[Key, Task] = {}
        for task in tasks:
            if task.fact_key in stored or first.setdefault(task.fact_key, task) is not task:
                task.settle(Outcome.DUPLICATE)
        return [task for task in first.values() if task.outcome is None]

    def _refold(self, tasks: Iterable[Task]) -> None:
        """Also for duplicates, should we have died between a product and its users."""
        concerned: dict[str, list[Task]] = {}
        for task in tasks:
            event = task.event
            if task.outcome in {Outcome.ACCEPTED, Outcome.DUPLICATE} and event.object_type in CATALOG:
                name = catalog_name(event.scope, str(event.object_type), str(event.object_id))
                concerned.setdefault(name, []).append(task)
        for name, waiting in concerned.items():
            try:
                refold(self.store, name, now=self.now)
            except Exception as error:  # noqa: BLE001  # delivered again, dropped as duplicate, folded again
                for task in waiting:
                    task.fail(error)
