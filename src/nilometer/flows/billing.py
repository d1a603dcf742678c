"""Billing: Stripe events into registers and billing records, each event's fact and effect in one transaction.

A batch costs two reads, however many events it holds: the facts and the records that its groups need; then
transactions of as many groups as fit. A group that loses a race is read again, consistently, and tried alone.

What if the process dies after a commit and before the answer? The messages come again and their facts are found.
What if it dies between a product's register and the records that use the product? The message was not answered,
comes again as a duplicate, and the users are folded again. What if a slow twin commits an older read? Its
versions have moved; nothing of it is written.
"""

from __future__ import annotations

import random
import time
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from nilometer.aws.dynamodb import Store
from nilometer.aws.s3 import Objects
from nilometer.domain import keys
from nilometer.domain.billing import catalog_name, inputs_of, with_catalog
from nilometer.domain.billing_decision import Evidence, Group, decide, wanted
from nilometer.domain.billing_item import catalog_entry, catalog_key, record_item
from nilometer.domain.outcome import Message, Outcome, Result
from nilometer.domain.reject import Reject
from nilometer.domain.stripe.event import Scope, StripeEvent
from nilometer.domain.stripe.fact import INLINE_BYTES, KEPT, fact_item
from nilometer.domain.stripe.register import of_event
from nilometer.domain.stripe.register_item import object_of
from nilometer.domain.times import epoch, rfc3339
from nilometer.domain.writes import Check, Item, Key, Put, Table, Write, version_of
from nilometer.errors import Cancelled, Rejected, Unavailable
from nilometer.flows.rejects import keep
from nilometer.flows.stripe_wire import Arrived, arrived

ATTEMPTS = 8
ACTIONS = 100  # in one transaction
BYTES = 3_000_000  # of its 4 MB
GROUP_EVENTS = 25  # of one customer decided together: each may need its fact, a register and more
_CATALOG = {"product", "price"}


@dataclass(slots=True)
class _Task:
    """One message on its way to an outcome."""

    message: Message
    arrived: Arrived | None = None
    outcome: Outcome | None = None
    fields: dict[str, str | int] = field(default_factory=dict)

    def settle(self, outcome: Outcome, **fields: str | int) -> None:
        self.outcome = outcome
        self.fields |= fields

    @property
    def event(self) -> StripeEvent:
        assert self.arrived is not None  # noqa: S101  # only asked of what arrived
        assert isinstance(self.arrived.event, StripeEvent)  # noqa: S101
        return self.arrived.event

    @property
    def fact_key(self) -> Key:
        return keys.stripe_event(self.event.scope.account, self.event.id)


def handle(messages: Sequence[Message], *, store: Store, objects: Objects, now: datetime) -> list[Result]:
    """One result a message, in their order; a failure of one does not touch other customers."""
    tasks = [_Task(message) for message in messages]
    _Batch(store, objects, now).run(tasks)
    return [Result(message_id=t.message.id, outcome=t.outcome or Outcome.FAILED, fields=t.fields) for t in tasks]


class _Batch:
    def __init__(self, store: Store, objects: Objects, now: datetime) -> None:
        self.store = store
        self.objects = objects
        self.now = now
        self.known: dict[Key, Item | None] = {}

    def run(self, tasks: Sequence[_Task]) -> None:
        for task in tasks:
            self._open(task)
        try:
            self._apply([task for task in tasks if task.outcome is None])
        except Exception as error:  # noqa: BLE001  # whatever was not settled is delivered again
            _fail((task for task in tasks if task.outcome is None), error)
        self._refold(tasks)

    # ------------------------------------------------------------------ door

    def _open(self, task: _Task) -> None:
        try:
            task.arrived = arrived(task.message.body, self.objects.get)
            event = task.arrived.event
            task.fields |= {"event_id": event.id, "type": event.type, "account": event.scope.account}
        except Rejected as error:
            self._reject(task, error)
        except Exception as error:  # noqa: BLE001  # the neighbours must pass; this one comes again
            _fail([task], error)

    def _reject(self, task: _Task, error: Rejected) -> None:
        event_id = task.arrived.event.id if task.arrived else None
        reject = Reject(
            flow="billing", reason=error.reason, message=str(error), payload=task.message.body, event_id=event_id
        )
        try:
            keep(self.store, self.objects, [reject], now=self.now)
            task.settle(Outcome.REJECTED, reason=error.reason)
        except Exception as failure:  # noqa: BLE001  # not kept: it must come again
            _fail([task], failure)

    # ------------------------------------------------------------------ facts and groups

    def _apply(self, tasks: Sequence[_Task]) -> None:
        fresh = self._without_duplicates(tasks, consistent=False)
        groups = [group for together in _grouped(fresh) for group in _chunks(together)]
        self._load([self._group(group) for group in groups])
        self._commit_packed(groups)

    def _without_duplicates(self, tasks: Sequence[_Task], *, consistent: bool) -> list[_Task]:
        """The first of each event that no fact knows; the others are settled."""
        stored = self.store.batch_get(
            Table.EVENTS, [task.fact_key for task in tasks], consistent=consistent, attributes=("version",)
        )
        first: dict[Key, _Task] = {}
        for task in tasks:
            if task.fact_key in stored or first.setdefault(task.fact_key, task) is not task:
                task.settle(Outcome.DUPLICATE)
        return [task for task in first.values() if task.outcome is None]

    def _group(self, tasks: Sequence[_Task]) -> Group:
        event = tasks[0].event
        return Group(
            scope=event.scope,
            customer_id=event.customer_id,
            evidence=tuple(self._evidence(task) for task in tasks),
            updated_at=rfc3339(self.now),
        )

    def _evidence(self, task: _Task) -> Evidence:
        event = task.event
        return Evidence(
            element=of_event(event) if event.object_id else None,
            object_type=event.object_type,
            object_id=event.object_id,
            fact=self._fact(task),
        )

    def _fact(self, task: _Task) -> dict[str, Any]:
        assert task.arrived is not None  # noqa: S101
        arrived = task.arrived
        payload = zlib.compress(arrived.raw, 6)
        claim = arrived.claim
        if len(payload) > INLINE_BYTES and claim is None:
            claim = self.objects.put("claims", arrived.raw)
        return fact_item(
            arrived.event,
            payload=payload,
            claim=claim if len(payload) > INLINE_BYTES else None,
            source=arrived.source,
            received_at=arrived.received_at,
            expires_at=epoch(self.now + KEPT),
        )

    # ------------------------------------------------------------------ reading

    def _load(self, groups: Sequence[Group], *, consistent: bool = False) -> None:
        """Everything the groups need, in rounds: what a link names is known only when the link is."""
        while True:
            missing = {key for group in groups for key in wanted(group, self.known)} - self.known.keys()
            if not missing:
                return
            found = self.store.batch_get(Table.RECORDS, missing, consistent=consistent)
            self.known |= {key: found.get(key) for key in missing}

    def _forget(self, group: Group) -> None:
        for key in wanted(group, self.known):
            self.known.pop(key, None)

    # ------------------------------------------------------------------ writing

    def _commit_packed(self, groups: Sequence[Sequence[_Task]]) -> None:
        pack = _Pack()
        for tasks in groups:
            group = self._group(tasks)
            if pack.writes and pack.touches(wanted(group, self.known)):
                self._flush(pack)
                pack = _Pack()
            try:
                self._load([group])
                writes = decide(group, self.known)
            except Unavailable:
                self._alone(tasks)
                continue
            if pack.writes and not pack.fits(writes):
                self._flush(pack)
                pack = _Pack()
            pack.add(tasks, writes)
        if pack.writes:
            self._flush(pack)

    def _flush(self, pack: _Pack) -> None:
        try:
            self.store.commit(pack.all())
        except (Cancelled, Rejected):
            for key in pack.keys:
                self.known.pop(key, None)
            for tasks in pack.groups:
                self._alone(tasks)
        except Exception as error:  # noqa: BLE001  # whether it landed is unknown: the facts will tell
            for key in pack.keys:
                self.known.pop(key, None)
            _fail((task for tasks in pack.groups for task in tasks), error)
        else:
            self._remember(pack.writes)
            for tasks in pack.groups:
                _accept(tasks)

    def _alone(self, tasks: Sequence[_Task]) -> None:
        """One group by itself, read consistently, as often as it takes within reason."""
        try:
            self._retry(tasks)
        except Rejected as error:
            self._split(tasks, error)
        except Exception as error:  # noqa: BLE001  # the other groups must pass
            _fail((task for task in tasks if task.outcome is None), error)

    def _retry(self, tasks: Sequence[_Task]) -> None:
        for attempt in range(ATTEMPTS):
            fresh = self._without_duplicates([t for t in tasks if t.outcome is None], consistent=True)
            if not fresh:
                return
            group = self._group(fresh)
            self._forget(group)
            try:
                self._load([group], consistent=True)
                writes = decide(group, self.known)
                self.store.commit(writes)
            except Cancelled:
                if attempt == ATTEMPTS - 1:
                    raise
                time.sleep(random.uniform(0, 0.01 * 2**attempt))
            else:
                self._remember(writes)
                _accept(fresh)
                return

    def _split(self, tasks: Sequence[_Task], error: Rejected) -> None:
        """DynamoDB refuses the group for good: find the event that is the reason."""
        waiting = [task for task in tasks if task.outcome is None]
        if len(waiting) == 1:
            self._reject(waiting[0], error)
            return
        for task in waiting:
            self._alone([task])

    def _remember(self, writes: Iterable[Write]) -> None:
        for write in writes:
            if isinstance(write, Put) and write.table is Table.RECORDS:
                self.known[write.key] = write.item
            elif not isinstance(write, Put | Check) and write.table is Table.RECORDS:
                self.known[write.key] = None

    # ------------------------------------------------------------------ catalog

    def _refold(self, tasks: Sequence[_Task]) -> None:
        """A changed product or price reaches every record that uses it; also for duplicates, should we have died."""
        concerned: dict[str, list[_Task]] = {}
        for task in tasks:
            if task.outcome in {Outcome.ACCEPTED, Outcome.DUPLICATE} and task.event.object_type in _CATALOG:
                name = catalog_name(task.event.scope, task.event.object_type, str(task.event.object_id))
                concerned.setdefault(name, []).append(task)
        for name, waiting in concerned.items():
            try:
                refold(self.store, name, now=self.now)
            except Exception as error:  # noqa: BLE001  # delivered again, dropped as duplicate, folded again
                _fail(waiting, error)


def refold(store: Store, name: str, *, now: datetime) -> int:
    """Brings the product or price `name` ("account/mode/product/id") into all records that use it; how many changed."""
    uses = store.query(Table.RECORDS, catalog_key(name).pk, prefix="USED#", consistent=True)
    return sum(_refold_record(store, name, Key(use["record_pk"], use["record_sk"]), now) for use in uses)


def _refold_record(store: Store, name: str, key: Key, now: datetime) -> bool:
    for attempt in range(ATTEMPTS):
        found = store.batch_get(Table.RECORDS, [key, catalog_key(name)], consistent=True)
        record, entry = found.get(key), catalog_entry(found.get(catalog_key(name)))
        if record is None or int(record["catalog"].get(name, {"version": 0})["version"]) >= entry["version"]:
            return False
        item = record_item(
            key,
            with_catalog(inputs_of(record), {name: entry}),
            workspace_id=record["workspace_id"],
            version=int(record["version"]) + 1,
            cause=str(found[catalog_key(name)]["cause"]),
            updated_at=rfc3339(now),
        )
        try:
            store.commit([Put(table=Table.RECORDS, item=item, expected=version_of(record))])
        except Cancelled:
            time.sleep(random.uniform(0, 0.01 * 2**attempt))
        else:
            return True
    raise Unavailable(f"the record {key.pk} is written too often; try again")


class _Pack:
    """Groups that share one transaction: no item in it twice."""

    def __init__(self) -> None:
        self.groups: list[Sequence[_Task]] = []
        self.writes: list[Write] = []
        self.checks: dict[Key, Check] = {}
        self.keys: set[Key] = set()
        self.size = 0

    def touches(self, wanted_keys: set[Key]) -> bool:
        return bool(self.keys & wanted_keys)

    def fits(self, writes: Sequence[Write]) -> bool:
        count = len(self.writes) + len(self.checks) + len(writes)
        return count <= ACTIONS and self.size + _size(writes) <= BYTES and not self._clash(writes)

    def add(self, tasks: Sequence[_Task], writes: Sequence[Write]) -> None:
        self.groups.append(tasks)
        for write in writes:
            if isinstance(write, Check):
                self.checks[write.key] = write
            else:
                self.writes.append(write)
                self.keys.add(write.key)
        self.size += _size(writes)

    def all(self) -> list[Write]:
        """A check of what two groups read alike is one check."""
        return [*self.writes, *self.checks.values()]

    def _clash(self, writes: Sequence[Write]) -> bool:
        checked = {w.key: w for w in writes if isinstance(w, Check)}
        written = {w.key for w in writes} - checked.keys()
        return bool(
            written & self.keys
            or written & self.checks.keys()
            or any(key in self.keys or self.checks.get(key, check) != check for key, check in checked.items())
        )


def _size(writes: Iterable[Write]) -> int:
    """A generous guess: what is large is bytes."""
    blobs = (
        len(value)
        for write in writes
        if isinstance(write, Put)
        for value in write.item.values()
        if isinstance(value, bytes)
    )
    return sum(blobs) + 4_000 * len(list(writes))


def _grouped(tasks: Sequence[_Task]) -> list[list[_Task]]:
    """By customer, or by object when there is none; catalog first, so that new subscriptions find it."""
    groups: dict[tuple[Scope, str, str], list[_Task]] = {}
    for task in tasks:
        event = task.event
        owner = ("customer", event.customer_id) if event.customer_id else ("object", event.object_id or event.id)
        groups.setdefault((event.scope, *owner), []).append(task)
    return sorted(groups.values(), key=lambda together: together[0].event.object_type not in _CATALOG)


def _chunks(tasks: Sequence[_Task]) -> Iterator[list[_Task]]:
    ordered = sorted(tasks, key=lambda task: task.event.created)
    yield from (ordered[start : start + GROUP_EVENTS] for start in range(0, len(ordered), GROUP_EVENTS))


def _accept(tasks: Iterable[_Task]) -> None:
    for task in tasks:
        task.settle(Outcome.ACCEPTED)


def _fail(tasks: Iterable[_Task], error: Exception) -> None:
    reason = str(error) if isinstance(error, Unavailable) else type(error).__name__
    for task in tasks:
        task.settle(Outcome.FAILED, error=reason)


# ---------------------------------------------------------------------- reading for operators


def list_billing(store: Store) -> Iterator[dict[str, Any]]:
    """Every billing record, one dict each; customers without a workspace have `workspace` None. Scans."""
    for record in store.scan(Table.RECORDS, kind="billing"):
        yield billing_of(record)


def billing_of(record: Item) -> dict[str, Any]:
    """A record as people and scripts read it: its own fields, its customers by id, its subscriptions."""
    hidden = {"pk", "sk", "kind", "customers", "catalog", "workspace_id", "actor"}
    views = {name.rpartition("/")[2]: view for name, view in record["customers"].items()}
    return {
        "workspace": record["workspace_id"],
        **{name: value for name, value in record.items() if name not in hidden},
        "customers": sorted(views),
        "subscriptions": [
            _subscription(id_, customer, view)
            for customer, owned in sorted(views.items())
            for id_, view in sorted(owned.items())
            if view["object"] == "subscription"
        ],
    }


def _subscription(id_: str, customer: str, view: Item) -> dict[str, Any]:
    items = view.get("items", [])
    bounds = [item for item in items if "current_period_end" in item]
    current: Item = min(bounds, key=lambda item: int(item["current_period_end"]), default={})
    return {
        "id": id_,
        "customer": customer,
        "status": view.get("status"),
        "cancel_at_period_end": bool(view.get("cancel_at_period_end")),
        "cancel_at": view.get("cancel_at"),
        "canceled_at": view.get("canceled_at"),
        "current_period_start": current.get("current_period_start"),
        "current_period_end": current.get("current_period_end"),
        "latest_invoice": view.get("latest_invoice"),
        "trial_end": view.get("trial_end"),
        "items": [{name: item.get(name) for name in ("id", "price", "quantity")} for item in items],
    }


def list_objects(store: Store) -> Iterator[dict[str, Any]]:
    """Every Stripe object known, as its register resolves it. Scans."""
    for register in store.scan(Table.RECORDS, kind="register"):
        yield object_of(register)
