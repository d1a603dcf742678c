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
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property

import msgspec

from nilometer.aws.dynamodb import Store
from nilometer.aws.s3 import Objects
from nilometer.domain import keys
from nilometer.domain.billing import catalog_name
from nilometer.domain.billing_decision import Evidence
from nilometer.domain.outcome import Message, Outcome, Result
from nilometer.domain.reject import Reject
from nilometer.domain.stripe.event import Notification, StripeEvent
from nilometer.domain.stripe.fact import INLINE_BYTES, KEPT, fact_item
from nilometer.domain.stripe.payload import pack
from nilometer.domain.stripe.register import of_event
from nilometer.domain.times import epoch
from nilometer.domain.writes import Item, Key, Table
from nilometer.errors import Rejected, Unavailable
from nilometer.flows.billing_groups import Committer
from nilometer.flows.billing_list import billing_of, explain_object, list_billing, list_objects
from nilometer.flows.catalog import CATALOG, refold
from nilometer.flows.rejects import keep
from nilometer.flows.stripe_wire import Arrived, arrived

__all__ = ["billing_of", "explain_object", "handle", "list_billing", "list_objects"]


def handle(messages: Sequence[Message], *, store: Store, objects: Objects, now: datetime) -> list[Result]:
    """One result a message, in their order; a failure of one does not touch other customers."""
    batch = _Batch(store, objects, now)
    tasks = [Task(message, objects, now) for message in messages]
    batch.run(tasks)
    return [Result(message_id=t.message.id, outcome=t.outcome or Outcome.FAILED, fields=t.fields) for t in tasks]


@dataclass(eq=False)
class Task:
    """One message on its way to an outcome. Asked for its event only after it has arrived."""

    message: Message
    objects: Objects
    now: datetime
    outcome: Outcome | None = None
    fields: dict[str, str | int] = field(default_factory=dict)

    def settle(self, outcome: Outcome, **fields: str | int) -> None:
        self.outcome = outcome
        self.fields |= fields

    def fail(self, error: Exception) -> None:
        """It is delivered again. The text of an unexpected error may hold anything, so only its name is told."""
        self.settle(Outcome.FAILED, error=str(error) if isinstance(error, Unavailable) else type(error).__name__)

    @cached_property
    def arrived(self) -> Arrived:
        return arrived(self.message.body, self.objects.get)

    @property
    def event(self) -> StripeEvent | Notification:
        return self.arrived.event

    @property
    def fact_key(self) -> Key:
        return keys.stripe_event(self.event.scope.account, self.event.id)

    @property
    def owner(self) -> tuple[str, str]:
        """What it must be decided together with: its customer, else its object."""
        customer_id = self.event.customer_id if isinstance(self.event, StripeEvent) else None
        return ("customer", customer_id) if customer_id else ("object", self.event.object_id or self.event.id)

    @cached_property
    def evidence(self) -> Evidence:
        event = self.event
        snapshot = isinstance(event, StripeEvent) and event.object_id
        return Evidence(
            element=of_event(event) if snapshot and isinstance(event, StripeEvent) else None,
            object_type=event.object_type or "",
            object_id=event.object_id,
            fact=self._fact(),
            fetch=isinstance(event, Notification) and event.snapshot_event is None,
            second=event.created,
        )

    def _fact(self) -> Item:
        raw = self.arrived.raw
        payload = pack(msgspec.json.format(raw, indent=-1))
        claim = None
        if len(payload) > INLINE_BYTES:
            claim = self.arrived.claim or self.objects.put("claims", raw)
        return fact_item(
            self.event,
            payload=payload,
            claim=claim,
            source=self.arrived.source,
            received_at=self.arrived.received_at,
            expires_at=epoch(self.now + KEPT),
        )


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
