"""Reproduce: what one event changed, done again in an empty stack, and compared with the audit of the first time.

    usage     the records as they were before its batch, from the audit; then its batch
    Stripe's  every event of its customer that was stored with it or before, and of the catalog that was written before
              it: records of billing are the merge of these, in whatever order, so the tables are as they were. A batch
              decides many events of one customer in several transactions, by the time of the events: later ones are
              left out. Which events of the same second as the last one were among them nobody wrote down: they follow
              one by one until it agrees. Nor did anybody write down whether a product or price that was written while
              the transaction was decided had been read: it is tried with them and, when that differs, without.

Nothing is written to the stack that is asked. What is left out of the comparison is what another clock, another batch
or redaction makes different: versions, times of writing, causes, evidence.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from nilometer.aws.dynamodb import Store
from nilometer.aws.s3 import Objects
from nilometer.domain.lake import redaction
from nilometer.domain.lake.redaction import REDACTED
from nilometer.domain.recovery.trace import Audited, Trace, stored_at
from nilometer.domain.store import keys
from nilometer.domain.store.times import epoch, from_epoch, parse_rfc3339
from nilometer.domain.store.writes import Item, Key, Table
from nilometer.errors import Refused, Rejected
from nilometer.flows.publish.usage import Event
from nilometer.flows.recovery.history import images_in, parsed
from nilometer.flows.recovery.replay import event_again
from nilometer.flows.recovery.trace import Sources, caused, causes_of, changed_near, traced
from nilometer.lake.read.ledger import Ledger

_OTHERWISE = frozenset(
    {"version", "updated_at", "cause", "actor", "evidence", "inputs", "late_total", "late_count", *keys.INDEXED}
)
_COMPARED = frozenset({"billing", "register", "counter"})
_RESTORED = frozenset({"workspace", "billing", "limits", "meter", "counter", "alert"})
_DELIVERED = frozenset({"stripe_event", "usage_event"})
_HIDDEN_NUMBERS = re.compile(rf'("exp_(?:month|year)"\s*:)\s*"{re.escape(REDACTED)}"')
_KEPT = timedelta(days=40)  # a fact
_WRITES = timedelta(minutes=15)  # a batch may write that long after it began
_ADDED = ("total", "count")  # of a counter, which may lie in another shard


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """What an empty stack needs for one event: `items` of its records, then `bodies` for the webhook or `usage`.

    `after` is what the audit says that the event's transaction made of each record, redacted. `catalog` are bodies that
    were written while it was decided, `perhaps` those that may have been part of it.
    """

    trace: Trace
    after: Mapping[Key, Item]
    before: Mapping[Key, Item]
    items: Sequence[Item] = ()
    bodies: Sequence[bytes] = ()
    catalog: Sequence[bytes] = ()
    perhaps: Sequence[bytes] = ()
    usage: Sequence[Event] = ()

    @property
    def orders(self) -> Iterator[Sequence[Sequence[bytes]]]:
        """What may have happened, the likeliest first: each from empty tables, step by step until it agrees."""
        one_by_one = [[body] for body in self.perhaps]
        yield [[*self.catalog, *self.bodies], *one_by_one]
        if self.catalog:
            yield [self.bodies, *one_by_one]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReproducedRecord:
    """One record: the fields that differ, with what the audit says and what came of it here. Empty is equal."""

    key: Key
    kind: str
    differs: Mapping[str, tuple[Any, Any]] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """Whether the same came of it."""
        return not self.differs


def effects(name: str, sources: Sources, *, account: str | None = None) -> tuple[Trace, list[Audited]]:
    """The way of an event that can be done again, and what it changed, the first part of a scene.

    `Rejected("unknown_event")`; `Refused` for what changed nothing that is compared, and for events of services.
    """
    found, audited = traced(name, sources, account=account)
    if not found.known:
        raise Rejected("unknown_event", f"nothing is known of {name}; see nilometer trace")
    changed = [one for one in audited if one.change.kind in _COMPARED and one.change.new is not None]
    if not changed:
        raise Refused(
            f"{name} changed no record of billing or usage that the audit knows, so there is nothing to compare"
        )
    if found.identity.kind not in _DELIVERED:
        raise Refused("the lake stores what a service's event changed, not the event: it cannot be delivered again")
    return found, changed


def scene(found: Trace, changed: Sequence[Audited], sources: Sources) -> Scene:
    """Reads all that is needed for what `effects` found. `Refused` for what the lake does not keep."""
    if found.identity.kind == "stripe_event":
        return _of_stripe(found, changed, sources)
    counters = [one for one in changed if one.change.kind == "counter"]
    return Scene(**{**_ends(found, changed), **_usage(found, counters, sources)})


def _ends(found: Trace, changed: Sequence[Audited]) -> dict[str, Any]:
    """Each record before and after."""
    return {
        "trace": found,
        "before": {one.change.key: one.change.old or {} for one in reversed(changed)},
        "after": {one.change.key: one.change.new or {} for one in changed},
    }


def compared(scene: Scene, store: Store) -> Iterator[ReproducedRecord]:
    """Each record of the audit beside the one in `store`, where the event was delivered."""
    for key, after in sorted(scene.after.items()):
        here = store.get(Table.RECORDS, key, consistent=True)
        if after["kind"] == "counter":
            yield _counter(scene, key, after, store)
            continue
        mine = _comparable(redaction.image(here)) if here else {}
        yield ReproducedRecord(key=key, kind=str(after["kind"]), differs=_different(_comparable(after), mine))


def _comparable(image: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in image.items() if name not in _OTHERWISE}


def _different(theirs: Mapping[str, Any], mine: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    names = sorted(theirs.keys() | mine.keys())
    return {name: (theirs.get(name), mine.get(name)) for name in names if theirs.get(name) != mine.get(name)}


def _counter(scene: Scene, key: Key, after: Item, store: Store) -> ReproducedRecord:
    """By what was added over all shards: which shard takes a batch is chance."""
    prefix = key.sk.rpartition("#")[0] + "#"
    here = list(store.query(Table.RECORDS, key.pk, prefix=prefix, consistent=True))
    restored = [item for item in scene.items if item["pk"] == key.pk and str(item["sk"]).startswith(prefix)]
    before = scene.before[key]
    added = {name: _sum([after], name) - _sum([before], name) for name in _ADDED}
    mine = {name: _sum(here, name) - _sum(restored, name) for name in _ADDED}
    return ReproducedRecord(key=key, kind="counter", differs=_different(added, mine))


def _sum(items: Iterable[Mapping[str, Any]], name: str) -> Decimal:
    return sum((Decimal(item.get(name, 0)) for item in items), Decimal(0))


def _of_stripe(found: Trace, changed: Sequence[Audited], sources: Sources) -> Scene:
    """Bodies as the lake keeps them, of the customers of the changed records and of what has none."""
    row = next((one for one in sources.ledger.stripe_event(found.identity.event_id) if _is(one, found)), None)
    if row is None:
        raise Refused(f"{found.identity.event_id} is not in the lake yet")
    customers = {row["customer_id"] or "", *(name for one in changed for name in _customers(one))}
    rows = list(sources.ledger.stripe_events_of(sorted(customers), account=row["account"]))
    facts = sources.store.batch_get(
        Table.EVENTS, [_fact(one) for one in rows], consistent=True, attributes=("expires_at",)
    )
    own = facts.get(_fact(row))
    if own is None:
        raise Refused(f"the fact of {found.identity.event_id} has expired, and with it the order of the batches")
    until = stored_at(own)
    stored = {id(one): stored_at(fact) if (fact := facts.get(_fact(one))) else from_epoch(0) for one in rows}
    earlier, batch = ([one for one in rows if fits(stored[id(one)])] for fits in (until.__gt__, until.__eq__))
    cause, together = _transaction(row, changed, batch, sources, until)
    ours = max((_position(one) for one in together), default=(0, ""))
    written = _written([one for one in rows if abs(stored[id(one)] - until) < _WRITES], sources, until)
    known, unsure = _catalog(row["event_id"], list(filter(_is_ownerless, rows)), stored, written, ours, until)
    sure, perhaps = parted(row, cause, batch)
    owned = [one for one in (*not_later(earlier, written, ours), *sure) if not _is_ownerless(one)]
    bodies, catalog, twins = (
        [_body(one, sources.objects) for one in some] for some in (known + owned, unsure, perhaps)
    )
    return Scene(**_ends(found, together), bodies=bodies, catalog=catalog, perhaps=twins)


def _is_ownerless(row: Mapping[str, Any]) -> bool:
    """Products and prices, which many customers have, and events that name no customer."""
    return row["customer_id"] is None


_Position = tuple[int, str]


def _written(rows: Sequence[Mapping[str, Any]], sources: Sources, at: datetime) -> Mapping[str, _Position]:
    """Where the first write of each event is in the audit. One that names another event as its cause is not there."""
    found: dict[str, _Position] = {}
    for one in causes_of([str(row["event_id"]) for row in rows], sources, at):
        found[str(one.cause)] = min(found.get(str(one.cause), _position(one)), _position(one))
    return found


def not_later(
    rows: Iterable[Mapping[str, Any]], written: Mapping[str, _Position], ours: _Position
) -> list[Mapping[str, Any]]:
    """Events of batches that began before ours, but those that were written after the position `ours`: batches run
    beside each other, and one that began first may end last."""
    return [row for row in rows if written.get(row["event_id"], ours) <= ours]


def _catalog(
    own: str,
    rows: Sequence[Mapping[str, Any]],
    stored: Mapping[int, datetime],
    written: Mapping[str, _Position],
    ours: _Position,
    until: datetime,
) -> tuple[list[Mapping[str, Any]], list[Mapping[str, Any]]]:
    """Of events without a customer those that a transaction knew, also the event that it is of, and those that were
    written while it was decided.

    Batches run beside each other, so the second in which one began does not say what another had read: what was
    written before that second was read, what was written after the transaction was not. The audit says when. An event
    that it does not name as a cause goes by the second of its own batch.
    """
    known, unsure = [], []
    for row in rows:
        at = written.get(row["event_id"], (epoch(stored[id(row)]), ""))
        if at[0] < epoch(until) or row["event_id"] == own:
            known.append(row)
        elif at <= ours:
            unsure.append(row)
    return known, unsure


def _position(one: Audited) -> _Position:
    """In the order of writing: exact within one shard of the stream, to the second between two."""
    return one.change.occurred_at, one.change.padded_number


def _transaction(
    row: Mapping[str, Any],
    changed: Sequence[Audited],
    batch: Sequence[Mapping[str, Any]],
    sources: Sources,
    until: datetime,
) -> tuple[str, Sequence[Audited]]:
    """The cause that the event's transaction names, and what it changed. Of several of one batch it is the first whose
    cause is not older than the event."""
    created = {one["event_id"]: one["created"] for one in batch if one["customer_id"] == row["customer_id"]}
    causes = (
        {one.cause for one in changed_near("stripe_event", row, sources, until) if one.cause in created}
        if created
        else set()
    )
    later = sorted((created[one], str(one)) for one in causes if created[one] >= row["created"])
    if row["event_id"] in causes or not later:
        return row["event_id"] if row["event_id"] in causes else str(changed[-1].cause), changed
    cause = later[0][1]
    if all(one.cause in {cause, row["event_id"]} for one in changed):
        return cause, changed
    found = [
        one for one in caused(cause, sources, until) if one.change.kind in _COMPARED and one.change.new is not None
    ]
    return cause, found or changed


def parted(
    row: Mapping[str, Any], cause: str, batch: Sequence[Mapping[str, Any]]
) -> tuple[list[Mapping[str, Any]], list[Mapping[str, Any]]]:
    """Rows of one batch that were decided before or with an event, and those of which nobody knows: of its customer,
    from the second of the `cause`."""
    last = next((one["created"] for one in batch if one["event_id"] == cause), None)
    sure, perhaps = [], []
    for one in batch:
        stranger = one["customer_id"] != row["customer_id"] or one["customer_id"] is None
        if last is None or stranger or one["created"] < last or one["event_id"] in {cause, row["event_id"]}:
            sure.append(one)
        elif one["created"] == last:
            perhaps.append(one)
    return sure, perhaps


def _is(row: Mapping[str, Any], found: Trace) -> bool:
    return bool(row["account"] == found.identity.source)


def _customers(one: Audited) -> Iterator[str]:
    """Whose record it is: a record of billing names them as `account/mode/customer`."""
    for name in one.change.item.get("customers", ()):
        yield str(name).rpartition("/")[2]
    if one.change.item.get("customer_id"):
        yield str(one.change.item["customer_id"])


def _fact(row: Mapping[str, Any]) -> Key:
    return keys.stripe_event(row["account"], row["event_id"])


def _body(row: Mapping[str, Any], objects: Objects) -> bytes:
    """With a number where redaction took one that billing reads: what comes of it is redacted again."""
    reference = row["payload_ref"]
    body = objects.get(reference).decode() if reference else str(row["payload"])
    return _HIDDEN_NUMBERS.sub(r"\1 1", body).encode()


def _usage(found: Trace, changed: Sequence[Audited], sources: Sources) -> dict[str, Any]:
    """The batch, and the records before and after it: a batch of many events writes a counter more than once."""
    rows = sources.ledger.usage_event(found.identity.event_id)
    named = (found.identity.source, found.identity.event_id)
    row = next((one for one in rows if (one["source"], one["event_id"]) == named), None)
    if row is None:
        raise Refused(f"{found.identity.event_id} is not in the lake yet")
    if not changed:
        raise Refused(f"no counter of {found.identity.event_id} is in the audit yet")
    partition, stamp = keys.workspace(row["workspace_id"]).pk, changed[0].batch_at
    until = from_epoch(changed[0].change.occurred_at) + _WRITES
    records = _Records(partition, {one.change.key for one in changed}, stamp)
    for change in sources.ledger.records_before(partition, kinds=sorted(_RESTORED), until=until):
        records.take(change, *_images(change, sources.objects))
    counted = records.counted()
    began = row["received_at"]
    batch = list(_between(sources.ledger, row["workspace_id"], began, began + timedelta(milliseconds=1)))
    if _of_meter(batch, row) != counted:
        batch = _stored_in(stamp, row["workspace_id"], sources)
    if (arrived := _of_meter(batch, row)) != counted:
        raise Refused(
            f"its batch counted {counted} events and {arrived} of them are known: some were voided or expired"
        )
    return {
        "items": list(records.items()),
        "usage": [event_again(one) for one in batch],
        "before": records.before,
        "after": records.after,
    }


def _of_meter(batch: Iterable[Mapping[str, Any]], row: Mapping[str, Any]) -> int:
    return sum(one["meter"] == row["meter"] for one in batch)


def _stored_in(second: int, workspace_id: str, sources: Sources) -> list[Mapping[str, Any]]:
    """What had waited for its workspace or meter arrived earlier than it was counted: the facts say when that was."""
    at = from_epoch(second)
    rows = list(_between(sources.ledger, workspace_id, at - _KEPT, at + timedelta(seconds=1)))
    named = [keys.usage_event(one["source"], one["event_id"]) for one in rows]
    facts = sources.store.batch_get(Table.EVENTS, named, consistent=True, attributes=("expires_at",))
    return [
        one for key, one in zip(named, rows, strict=True) if key in facts and epoch(stored_at(facts[key])) == second
    ]


def _between(ledger: Ledger, workspace_id: str, since: datetime, until: datetime) -> Iterator[Mapping[str, Any]]:
    return ledger.usage_arrived(since=since, until=until, workspace_id=workspace_id)


def _images(row: Mapping[str, Any], objects: Objects) -> tuple[Item | None, Item | None]:
    reference = row["images_ref"]
    if reference:
        old, new = images_in(objects.get(reference))
    else:
        old, new = parsed(row["old_image"]), parsed(row["new_image"])
    return (dict(old) if old is not None else None), (dict(new) if new is not None else None)


@dataclass(slots=True)
class _Records:
    """Of one partition, folded from the audit: as they were before one batch, and what it made of some."""

    pk: str
    changed: set[Key]
    batch_at: int
    before: dict[Key, Item] = field(default_factory=dict)
    after: dict[Key, Item] = field(default_factory=dict)
    last: dict[Key, Item | None] = field(default_factory=dict)

    def take(self, row: Mapping[str, Any], old: Item | None, new: Item | None) -> None:
        """Rows of a record come in the order of change."""
        key = Key(row["pk"], row["sk"])
        if new is not None and key in self.changed and _stamp(new) == self.batch_at:
            self.before.setdefault(key, old or {})
            self.after[key] = new
        elif key not in self.after and (new is None or _stamp(new) <= self.batch_at):
            self.last[key] = new

    def counted(self) -> Decimal:
        """Events that the batch added to counters of billing periods."""
        periods = [key for key, one in self.after.items() if one["scope"] == "period"]
        after, before = ([side[key] for key in periods] for side in (self.after, self.before))
        return _sum(after, "count") - _sum(before, "count")

    def items(self) -> Iterator[Item]:
        """Without what only the billing flow reads, which the audit has in another form."""
        for item in self.last.values():
            if item is not None:
                yield {name: value for name, value in item.items() if name != "inputs"}


def _stamp(image: Item) -> int:
    """The second in which its batch began; 0 of a record that does not say."""
    return epoch(parse_rfc3339(image["updated_at"])) if image.get("updated_at") else 0


def as_json(record: ReproducedRecord) -> dict[str, Any]:
    """For machines."""
    differs = {name: {"audit": theirs, "here": mine} for name, (theirs, mine) in record.differs.items()}
    told = {**record.key._asdict(), "kind": record.kind, "differs": differs}
    return dict(json.loads(json.dumps(told, default=str)))
